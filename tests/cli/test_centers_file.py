"""The text file of labels: bounded, UTF-8, one entry a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from refusal import refused

from advcal_edge.cli.centers import read_lines


def test_lines_that_are_not_blank(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("\ufeffcat\r\n\n  dög  \n".encode())
    assert read_lines(tmp_path / "labels.txt") == ("cat", "dög")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"cat\n\xff\n", "as UTF-8"),
        (b"a\n" * 70_000, "has 70,000 lines; expected at most 65,536"),
        (b"a" * (16 * 2**20 + 1), "has 16,777,217 bytes"),
    ],
    ids=["empty", "blank", "latin", "lines", "bytes"],
)
def test_files_that_are_no_labels_are_refused(content: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with refused(found):
        read_lines(tmp_path / "labels.txt")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, found in ((Path("/dev/zero"), "is a device"), (tmp_path / "pipe", "is a pipe"), (tmp_path, "folder")):
        with refused(found):
            read_lines(path)
