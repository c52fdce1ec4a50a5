"""Labelled frames from folders and csv files, and everything that can be wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from small_encoder import LABELS, make_frames, write_folder

from advcal_edge.calibrate.data.folder import load_folder
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.calibrate.data.split import frame_sha256, split, stratified_order
from advcal_edge.errors import InputError
from advcal_edge.spec import depth, thermal

THERMAL = thermal(8)


def hashes(samples: Samples) -> list[str]:
    return [frame_sha256(frame) for frame in samples.frames]


def load(path: Path, skip_bad: bool = False) -> tuple[Samples, int]:
    loaded = load_folder(path, THERMAL, LABELS, skip_bad=skip_bad)
    return loaded.samples, loaded.skipped


def test_folders(tmp_path: Path) -> None:
    samples, skipped = load(write_folder(tmp_path, 12))
    assert (len(samples), skipped, samples.names) == (12, 0, LABELS)
    frames, labels = make_frames(12, seed=2)
    assert {(frame_sha256(f), int(y)) for f, y in zip(samples.frames, samples.labels, strict=True)} == {
        (frame_sha256(f), int(y)) for f, y in zip(frames, labels, strict=True)
    }


def test_classes_keep_the_order_of_the_centers(tmp_path: Path) -> None:
    write_folder(tmp_path, 12)
    for file in (tmp_path / "dog").iterdir():
        file.unlink()
    (tmp_path / "dog").rmdir()
    assert load_folder(tmp_path, THERMAL, ("owl", "dog", "cat"), skip_bad=False).samples.names == ("owl", "cat")


def write_counts(path: Path) -> None:
    import cv2

    counts = np.random.default_rng(len(path.name)).integers(29_000, 31_000, (9, 9)).astype(np.uint16)
    path.write_bytes(cv2.imencode(".png", counts)[1].tobytes())


def test_sixteen_bits(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        write_counts(tmp_path / label / "deep.png")
    assert {frame.dtype for frame in load(tmp_path)[0].frames} == {np.dtype(np.uint16)}


def test_files_of_two_kinds_are_named_with_their_numbers(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    write_counts(tmp_path / "cat" / "deep.png")
    np.save(tmp_path / "owl" / "degrees.npy", np.full((9, 9), 21.5, np.float32))
    with pytest.raises(InputError, match=r"(?s)in 3 ways.*6 in 8 bits, like .*1 in 16 bits, like .*deep.png") as caught:
        load(tmp_path)
    assert "1 in floating point, like " in caught.value.message
    assert "degrees.npy" in caught.value.message
    assert "input.assume_units=yes" in (caught.value.hint or "")
    accepted = THERMAL.with_settings({"assume_units": "yes"})
    assert len(load_folder(tmp_path, accepted, LABELS, skip_bad=False).samples) == 8


def test_half_counts_half_metres(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for index in range(2):
            write_counts(tmp_path / label / f"{index}.png")
            np.save(tmp_path / label / f"{index}.npy", np.full((9, 9), 2000.0 + index, np.float32))
    declared = depth(8).with_settings({"depth_scale": "mm"})
    with pytest.raises(InputError, match=r"(?s)the depth files .*4 in floating point.*4 in 16 bits"):
        load_folder(tmp_path, declared, None, skip_bad=False)


def test_folders_within_a_class_are_read(tmp_path: Path) -> None:
    write_folder(tmp_path, 12)
    flat = load(tmp_path)[0]
    expected = sorted(zip(hashes(flat), flat.labels, strict=True))
    for file in list(tmp_path.glob("*/*.png")):
        session = file.parent / f"session {int(file.stem) % 2}" / "left"
        session.mkdir(parents=True, exist_ok=True)
        file.rename(session / file.name)
    nested = load(tmp_path)[0]
    assert sorted(zip(hashes(nested), nested.labels, strict=True)) == expected


def test_linked_sessions_are_read_and_circles_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", 6)
    (tmp_path / "data" / "cat").rename(tmp_path / "elsewhere")
    (tmp_path / "data" / "cat").mkdir()
    (tmp_path / "data" / "cat" / "session").symlink_to(tmp_path / "elsewhere")
    assert len(load(tmp_path / "data")[0]) == 6
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "data" / "cat")
    with pytest.raises(InputError, match="leads back to a folder above it"):
        load(tmp_path / "data")


def test_what_a_system_left_is_counted_once(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    for place in ("cat", "dog", "."):
        (tmp_path / place / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "cat" / "__MACOSX").mkdir()
    (tmp_path / "labels.txt").write_text("cat")
    loaded = load_folder(tmp_path, THERMAL, LABELS, skip_bad=False)
    assert loaded.skipped == 0
    assert loaded.left_out == {".DS_Store": 3, "Thumbs.db": 1, "__MACOSX": 1, "labels.txt": 1}


def test_frames_beside_the_classes_are_not_dropped(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    write_counts(tmp_path / "lost.png")
    with pytest.raises(InputError, match=r"1 of the files .* beside the folders of the classes, like `lost.png`"):
        load(tmp_path)


@pytest.mark.parametrize("known", [None, LABELS])
def test_parts_of_a_data_set_are_no_classes(known: tuple[str, ...] | None, tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_folder(tmp_path / part, 6)
    with pytest.raises(InputError, match="which are parts of a data set") as caught:
        load_folder(tmp_path, THERMAL, known, skip_bad=False)
    assert f"--data {tmp_path / 'test'}" in (caught.value.hint or "")
    assert len(load_folder(tmp_path / "train", THERMAL, known, skip_bad=False).samples) == 6


def test_csv(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    listing = tmp_path / "some.csv"
    listing.write_text("label,path\ncat,cat/000.png\nowl,owl/002.png\n")
    samples, _ = load(listing)
    assert samples.names == ("cat", "owl")
    assert samples.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path\ncat/000.png\n", "expected `path`, `label`"),
        ("", "expected `path`, `label`"),
        ("path,label\n../x.png,cat\n", "leaves the folder"),
        ("path,label\n/etc/hostname,cat\n", "leaves the folder"),
        ("path,label\ncat/000.png\n", "line 2"),
        ("path,label\ncat/000.png,cow\n", "`cow`, for which the encoder has no center"),
        ("path,label\ncat/000.png,cat\n", "holds 1 class"),
        ("path,label\ncat/000.png,cat\ndog/no.png,dog\n", "1 of 2 files"),
    ],
)
def test_bad_csv(content: str, message: str, tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    (tmp_path / "some.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "some.csv")


def test_bad_csv_bytes(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_bytes(b"path,label\n\xff\xfe\0,cat\n")
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path / "some.csv")


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "loop", "pipe", "nowhere"])
def test_a_listed_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("none")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "some.csv").write_text(f"path,label\ncat/000.png,cat\n{name},dog\n")
    with pytest.raises(InputError) as caught:
        load(tmp_path / "some.csv")
    assert caught.value.hint


def test_a_folder_s_links_and_pipes_are_refused_like_any_bad_file(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "cat" / "gone.png").symlink_to("none")
    with pytest.raises(InputError, match=r"(?s)2 of 8 files.*gone\.png.*pipe\.png` is a pipe"):
        load(tmp_path)
    assert load(tmp_path, skip_bad=True)[1] == 2


def test_lists_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, 6)
    (tmp_path / "some.csv").write_text("path,label\n" + "cat/000.png,cat\n" * 9)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is a pipe"):
        load(tmp_path / "pipe.csv")
    (tmp_path / "wide.csv").write_text(f"path,label\n{'9' * 200_000},cat\n")
    with pytest.raises(InputError, match="field larger than field limit"):
        load(tmp_path / "wide.csv")
    monkeypatch.setenv("ADVCAL_MAX_LISTED_FILES", "5")
    for path in (tmp_path, tmp_path / "some.csv"):
        with pytest.raises(InputError, match="has 6 files; expected at most 5"):
            load(path)
    monkeypatch.setenv("ADVCAL_MAX_LABELS_BYTES", "99")
    with pytest.raises(InputError, match="bytes; expected at most 99"):
        load(tmp_path / "some.csv")


def test_unknown_class_lists_the_known(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    (tmp_path / "cow").mkdir()
    with pytest.raises(InputError, match="`cat`, `dog`, `owl`"):
        load(tmp_path)


def test_empty_and_single_classes(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match=r"`cat` of .* is empty"):
        load(tmp_path)
    (tmp_path / "cat" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="holds 1 class"):
        load(tmp_path)
    with pytest.raises(InputError, match="no folder and no csv"):
        load(tmp_path / "absent")


def test_unreadable_files(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    for index in range(12):
        (tmp_path / "cat" / f"bad{index:02}.png").write_bytes(b"no picture")
    (tmp_path / "cat" / ".hidden").write_bytes(b"ignored")
    with pytest.raises(InputError, match=r"(?s)12 of 18 files.*bad00.*bad09.*and 2 more") as caught:
        load(tmp_path)
    assert "bad10" not in caught.value.message
    assert "--skip-bad" in (caught.value.hint or "")
    samples, skipped = load(tmp_path, skip_bad=True)
    assert (len(samples), skipped) == (6, 12)


def test_nothing_left_of_a_class(tmp_path: Path) -> None:
    write_folder(tmp_path, 6)
    for file in (tmp_path / "dog").iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(InputError, match="no readable sample is left of the class `dog`"):
        load(tmp_path, skip_bad=True)


def samples_of(frames: list[np.ndarray], labels: np.ndarray) -> Samples:
    return Samples(tuple(frames), labels, LABELS, "test", "NOASSERTION")


@pytest.mark.parametrize("seed", [0, 1])
def test_split(seed: int) -> None:
    frames, labels = make_frames(60, seed=3)
    doubled = samples_of(frames + frames[:30], np.concatenate([labels, labels[:30]]))
    train, held_out = split(doubled, 0.25, seed, digests=hashes(doubled))
    assert len(train) + len(held_out) == 90
    assert not {frame_sha256(f) for f in train.frames} & {frame_sha256(f) for f in held_out.frames}
    for label in range(3):
        assert 0.2 <= (held_out.labels == label).sum() / 30 <= 0.34
    again = split(doubled, 0.25, seed, digests=hashes(doubled))[1]
    assert again.labels.tolist() == held_out.labels.tolist()


def test_split_needs_two_different_frames() -> None:
    frames, labels = make_frames(6, seed=3)
    alike = [frames[0], frames[1], frames[2], frames[0], frames[4], frames[5]]
    with pytest.raises(InputError, match="`cat` of `test` has 1 different frame"):
        split(samples_of(alike, labels), 0.25, 0, digests=hashes(samples_of(alike, labels)))
    two_each = samples_of(frames, labels)
    train, held_out = split(two_each, 0.25, 0, digests=hashes(two_each))  # one on either side
    assert sorted(train.labels) == sorted(held_out.labels) == [0, 1, 2]


def test_stratified_order() -> None:
    labels = np.repeat(np.arange(4), [40, 40, 40, 8]).astype(np.int64)
    order = stratified_order(labels, seed=0)
    assert sorted(order) == list(range(128))
    head = np.bincount(labels[order[:32]], minlength=4)
    assert abs(head - np.array([10, 10, 10, 2])).max() <= 1
    assert order.tolist() != stratified_order(labels, seed=1).tolist()
