"""A file that changes after it was hashed is noticed wherever it is read, in place or by its name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from advcal_edge.anchor import ANCHOR, AnchorFile, anchor_bytes
from advcal_edge.bundle import Bundle
from advcal_edge.checked_file import PIECE, CheckedFile
from advcal_edge.errors import BundleError
from advcal_edge.probe import Probe, ProbeFile
from advcal_edge.spec import image
from advcal_edge.storage import sha256_bytes

SPEC = image(64).input
CONTENT = np.random.default_rng(0).bytes(2 * PIECE + 1234)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> CheckedFile:
    path = tmp_path_factory.mktemp("checked") / "file"
    path.write_bytes(CONTENT)
    return CheckedFile.of(path)


def test_the_hash_is_that_of_the_file(checked: CheckedFile) -> None:
    assert (checked.sha256, checked.size) == (sha256_bytes(CONTENT), len(CONTENT))
    with checked.open() as file:
        assert file.read() == CONTENT


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(-PIECE, 3 * PIECE), st.integers(0, 2 * PIECE))))
def test_it_is_read_from_anywhere_like_any_file(checked: CheckedFile, steps: list[tuple[int, int, int]]) -> None:
    with checked.open() as file, checked.path.open("rb") as plain:
        for whence, offset, size in steps:
            base = (0, plain.tell(), len(CONTENT))[whence]
            if base + offset < 0:
                continue
            assert file.seek(offset, whence) == plain.seek(offset, whence)
            assert file.read(size) == plain.read(size)
            assert file.tell() == plain.tell()


@pytest.mark.parametrize("place", [0, PIECE - 1, PIECE, len(CONTENT) - 1])
def test_one_byte_changed_in_place(tmp_path: Path, place: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    checked = CheckedFile.of(path)
    with checked.open() as file:
        with path.open("r+b") as other:
            other.seek(place)
            other.write(bytes([CONTENT[place] ^ 1]))
        file.seek(place)
        with pytest.raises(BundleError, match="was changed or replaced while it was read"):
            file.read(1)


def test_a_file_that_was_cut_or_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    checked = CheckedFile.of(path)
    os.truncate(path, PIECE + 5)
    with checked.open() as file, pytest.raises(BundleError, match="was changed or replaced"):
        file.read()
    path.unlink()
    with pytest.raises(BundleError, match="cannot read"), checked.open():
        pass


def samples(n: int, seed: int) -> Probe:
    rng = np.random.default_rng(seed)
    return Probe(rng.random((n, *SPEC.shape), np.float32), rng.integers(0, 3, n))


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "by name"])
def test_a_probe_swapped_between_hash_and_read(tmp_path: Path, in_place: bool) -> None:
    """Same number, shape and labels, so that only its bytes tell."""
    path, good = tmp_path / "probe.npz", samples(100, 0)
    path.write_bytes(good.to_bytes(SPEC))
    file = ProbeFile.open(CheckedFile.of(path), SPEC)
    assert np.array_equal(next(file.blocks(8, 100)).x, good.x[:8])
    other = Probe(samples(100, 1).x, good.y).to_bytes(SPEC)
    if in_place:
        with path.open("r+b") as opened:
            opened.write(other)
            opened.truncate()
    else:
        (tmp_path / "other").write_bytes(other)
        (tmp_path / "other").replace(path)
    with pytest.raises(BundleError, match="was changed or replaced while it was read"):
        list(file.blocks(8, 100))
    with pytest.raises(BundleError, match="was changed or replaced while it was read"):
        file.head(3)


def test_an_anchor_swapped_between_hash_and_read(tmp_path: Path) -> None:
    z = np.eye(300, dtype=np.float32)
    bundle = Bundle.create(tmp_path / "B", {}, {ANCHOR: anchor_bytes(z)})
    anchor = AnchorFile.open(bundle, 300, 300)
    assert np.array_equal(np.concatenate(list(anchor.blocks(7, 20))), z[:20])
    (bundle.path / ANCHOR).write_bytes(anchor_bytes(-z))
    with pytest.raises(BundleError, match="was changed or replaced while it was read"):
        list(anchor.blocks(64, 300))
    with pytest.raises(BundleError, match="was changed or truncated: sha256 is"):
        AnchorFile.open(bundle, 300, 300)


@pytest.mark.parametrize(
    ("z", "words"),
    [
        (np.eye(4, dtype=np.float32)[:3], r"holds embeddings \(3, 4\) of float32; expected \(4, 4\)"),
        (np.zeros((4, 5), np.float32), r"holds embeddings \(4, 5\) of float32; expected \(4, 4\)"),
    ],
)
def test_an_anchor_of_other_samples_is_refused(tmp_path: Path, z: np.ndarray, words: str) -> None:  # type: ignore[type-arg]
    bundle = Bundle.create(tmp_path / "B", {}, {ANCHOR: anchor_bytes(z)})
    with pytest.raises(BundleError, match=words):
        AnchorFile.open(bundle, 4, 4)
