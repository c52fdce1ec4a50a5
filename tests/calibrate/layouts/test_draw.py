"""What is drawn of a data set, what is read of it, and what is left out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature import counts, draw, names, write, write_frames

from advcal_edge.calibrate.data.layouts import draw as draw_module
from advcal_edge.calibrate.data.layouts.draw import load_layout
from advcal_edge.calibrate.data.split import frame_sha256
from advcal_edge.errors import ConfigError, InputError

WNIDS = ("n00000001", "n00000002", "n00000003")


def write_set(root: Path, train: int = 8, val: int = 4) -> Path:
    """ImageNet of three classes, every picture unlike the others."""
    for side, each, first in (("train", train, 0), ("val", val, 500)):
        write_frames((root / side / wnid / f"{place}.png" for wnid in WNIDS for place in range(each)), first)
    return root


def test_only_what_is_drawn_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path)
    read: list[Path] = []

    def look(samples: Any, place: int) -> Any:
        read.append(samples.frames.paths[place])
        return samples.frames[place]

    monkeypatch.setattr(draw_module, "_look", look)
    drawn = draw("imagenet", tmp_path, train=9, held_out=6)
    assert counts(drawn) == (dict.fromkeys(WNIDS, 3), dict.fromkeys(WNIDS, 2))
    assert sorted(read) == sorted((*drawn.train.frames.paths, *drawn.held_out.frames.paths))


def test_shares_of_classes_are_kept(tmp_path: Path) -> None:
    write_frames(tmp_path / "train" / WNIDS[0] / f"{place}.png" for place in range(30))
    write_frames((tmp_path / "train" / WNIDS[1] / f"{place}.png" for place in range(10)), 100)
    write_frames((tmp_path / "val" / wnid / "0.png" for wnid in WNIDS[:2]), 500)
    assert counts(draw("imagenet", tmp_path, train=8))[0] == {WNIDS[0]: 6, WNIDS[1]: 2}


def test_the_seed_decides_what_to_train_with_alone(tmp_path: Path) -> None:
    write_set(tmp_path)
    first, again, other = (draw("imagenet", tmp_path, train=9, held_out=6, seed=seed) for seed in (0, 0, 1))
    assert first.train.frames.paths == again.train.frames.paths != other.train.frames.paths
    assert first.held_out.frames.paths == other.held_out.frames.paths


def test_a_frame_on_both_sides_is_tested_and_not_trained_with(tmp_path: Path) -> None:
    write_set(tmp_path)
    for name in ("copy.png", "again.png"):
        shutil.copy(tmp_path / "val" / WNIDS[0] / "1.png", tmp_path / "train" / WNIDS[1] / name)
    drawn = draw("imagenet", tmp_path)
    assert (drawn.copies, len(drawn.train), len(drawn.held_out)) == (2, 24, 12)
    train, held_out = ({frame_sha256(frame) for frame in side.frames} for side in (drawn.train, drawn.held_out))
    assert not train & held_out


def test_copies_are_replaced(tmp_path: Path) -> None:
    write_set(tmp_path)
    for place in range(8):
        shutil.copy(
            tmp_path / "val" / WNIDS[0] / f"{place % 4}.png", tmp_path / "train" / WNIDS[0] / f"{place + 8}.png"
        )
    drawn = draw("imagenet", tmp_path, train=20)
    assert len(drawn.train) == 20
    assert drawn.copies > 0


def test_without_a_published_split_copies_stay_on_one_side_too(tmp_path: Path) -> None:
    folders = [tmp_path / "Caltech101" / label for label in ("ant", "airplanes")]
    write_frames(folder / f"image_{place:04}.bin" for folder in folders for place in range(8))
    for place in range(8):
        shutil.copy(folders[0] / f"image_{place:04}.bin", folders[0] / f"copy_{place:04}.bin")
    drawn = draw("ncaltech101", tmp_path)
    assert drawn.copies > 0
    train, held_out = ({frame_sha256(frame) for frame in side.frames} for side in (drawn.train, drawn.held_out))
    assert not train & held_out


def test_unreadable_files_are_listed_or_replaced(tmp_path: Path) -> None:
    write_set(tmp_path)
    for wnid in WNIDS:
        write(tmp_path / "train" / wnid / "1.png", b"no picture")
    with pytest.raises(InputError, match=r"(?s)3 of 24 files.*1\.png") as caught:
        draw("imagenet", tmp_path)
    assert "--skip-bad" in str(caught.value.hint)
    drawn = draw("imagenet", tmp_path, skip_bad=True)
    assert (drawn.skipped, len(drawn.train)) == (3, 21)
    drawn = draw("imagenet", tmp_path, skip_bad=True, train=20)
    assert len(drawn.train) == 20, "the next ones take their places"


def test_a_set_of_other_files_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path)
    for path in (tmp_path / "val").rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"no readable sample of .* is held out"):
        draw("imagenet", tmp_path, skip_bad=True)
    monkeypatch.setattr(draw_module, "HOPELESS", 5)
    with pytest.raises(InputError, match=r"(6|7|8|9|10|11|12) of .* files"):
        draw("imagenet", tmp_path, skip_bad=True, held_out=3)


def test_the_centers_decide_the_order_and_what_is_a_class(tmp_path: Path) -> None:
    write_set(tmp_path)
    known = (WNIDS[2], "another", WNIDS[0], WNIDS[1])
    assert draw("imagenet", tmp_path, known).held_out.names == (WNIDS[2], WNIDS[0], WNIDS[1])
    with pytest.raises(InputError, match=f"has the class `{WNIDS[1]}`, for which the encoder has no center") as caught:
        draw("imagenet", tmp_path, (WNIDS[2], WNIDS[0], *map(str, range(50))))
    assert "make centers of the labels of ImageNet-1K" in str(caught.value.hint)
    assert "and 32 more" in caught.value.message


def test_class_means_need_a_sample_of_each_class(tmp_path: Path) -> None:
    write_set(tmp_path)
    with pytest.raises(ConfigError, match="none of the 2 samples to train with is of the class"):
        draw("imagenet", tmp_path, train=2)
    assert len(draw("imagenet", tmp_path, WNIDS, train=2).train) == 2


def test_a_share_to_hold_out_of_a_set_with_a_split(tmp_path: Path) -> None:
    from miniature import SENSORS

    from advcal_edge.calibrate.config import DataConfig

    data = DataConfig(path=str(write_set(tmp_path)), layout="imagenet", held_out=0.5)
    with pytest.raises(ConfigError, match=r"`data.held_out` is 0.5; ImageNet-1K was published with a split"):
        load_layout(data, SENSORS["image"], None, train=9, held_out=9, seed=0)


def test_frames_stay_on_disk(tmp_path: Path) -> None:
    drawn = draw("imagenet", write_set(tmp_path), train=6)
    taken = drawn.train.take(np.array([4, 2]))
    assert taken.frames.paths == tuple(drawn.train.frames.paths[place] for place in (4, 2))
    Path(taken.frames.paths[0]).unlink()
    with pytest.raises(InputError, match="cannot read"):
        taken.frames[0]


def test_a_folder_may_be_a_link(tmp_path: Path) -> None:
    write_set(tmp_path / "disk")
    (tmp_path / "I").mkdir()
    for side in ("train", "val"):
        (tmp_path / "I" / side).symlink_to(tmp_path / "disk" / side)
    assert len(names(draw("imagenet", tmp_path / "I"))) == 12
