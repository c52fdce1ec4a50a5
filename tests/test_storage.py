import os
from pathlib import Path

import pytest

from advcal_edge.errors import InputError
from advcal_edge.limits import Limit
from advcal_edge.storage import open_regular, read_bytes

FEW = Limit("TEST_FEW", 8, "bytes")


def test_a_regular_file_is_read_whole(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345678")
    assert read_bytes(path, FEW, InputError) == b"12345678"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_devices_are_refused(device):
    with pytest.raises(InputError, match="is a device; expected a regular file"):
        read_bytes(Path(device), FEW, InputError)


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe"):
        read_bytes(tmp_path / "pipe", FEW, InputError)


def test_files_that_hide_their_size_are_bounded_too():
    with pytest.raises(InputError, match="expected at most 8"):
        read_bytes(Path("/proc/self/status"), FEW, InputError)


def test_files_that_open_and_cannot_be_read_are_refused_in_words():
    """The memory of a process is a regular file, whose first page is nobody's."""
    with (
        pytest.raises(InputError, match="cannot read `/proc/self/mem`: Input/output error"),
        open_regular(Path("/proc/self/mem"), InputError) as file,
    ):
        file.read(8)


def test_folders_missing_files_loops_and_nul_are_refused_in_words(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for path, words in (
        (tmp_path, "folder|directory"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "loop", "symbolic links"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(InputError, match=words):
            read_bytes(path, FEW, InputError)


def test_links_are_followed_unless_asked_not_to(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to("a")
    assert read_bytes(tmp_path / "link", FEW, InputError) == b"1"
    with pytest.raises(InputError, match="is a link"), open_regular(tmp_path / "link", InputError, follow=False):
        pass
