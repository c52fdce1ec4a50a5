"""N-Caltech101, which has no published split, and N-ImageNet."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniature import calibrate, counts, draw, names, write, write_frames

from advcal_edge.bundle import Bundle
from advcal_edge.errors import InputError


def write_caltech(root: Path, labels: tuple[str, ...] = ("airplanes", "Faces_easy"), each: int = 8) -> Path:
    write_frames(root / label / f"image_{place:04}.bin" for label in labels for place in range(1, each + 1))
    return root


@pytest.mark.parametrize("above", ["", "Caltech101"])
def test_ncaltech101_is_split_by_the_project(above: str, tmp_path: Path) -> None:
    write_caltech(tmp_path / above)
    drawn = draw("ncaltech101", tmp_path)
    assert counts(drawn) == ({"Faces easy": 6, "airplanes": 6}, {"Faces easy": 2, "airplanes": 2})
    assert counts(draw("ncaltech101", tmp_path, held_out=1000, seed=3))[1] == counts(drawn)[1]
    half = draw("ncaltech101", tmp_path, train=1000)
    assert names(half) == names(drawn), "what is held out does not depend on the seed"


def test_a_share_of_ncaltech101(tmp_path: Path) -> None:
    from miniature import SENSORS

    from advcal_edge.calibrate.config import DataConfig
    from advcal_edge.calibrate.data.layouts.draw import load_layout

    data = DataConfig(path=str(write_caltech(tmp_path / "Caltech101").parent), layout="ncaltech101", held_out=0.5)
    drawn = load_layout(data, SENSORS["event"], None, train=9, held_out=9, seed=0)
    assert (len(drawn.train), len(drawn.held_out)) == (8, 8)


def test_one_recording_of_a_class_cannot_be_split(tmp_path: Path) -> None:
    write_caltech(tmp_path / "Caltech101", each=1)
    with pytest.raises(InputError, match="has 1 different frame; expected at least two"):
        draw("ncaltech101", tmp_path)


def write_nimagenet(root: Path) -> Path:
    folders = [f"extracted_{side}/{wnid}" for side in ("train", "val") for wnid in ("n01440764", "n03595614")]
    write_frames(root / folder / f"{folder[-9:]}_{place}.npz" for folder in folders for place in (1, 2))
    write(root / "train_list.txt", "/home/somebody/Datasets/N_Imagenet/extracted_train/n01440764/n01440764_1.npz\n")
    return root


def test_nimagenet(tmp_path: Path) -> None:
    write_nimagenet(tmp_path)
    assert counts(draw("nimagenet", tmp_path)) == 2 * ({"n01440764": 2, "n03595614": 2},)
    write(tmp_path / "LOC_synset_mapping.txt", "n01440764 tench, Tinca tinca\nn03595614 jersey, T-shirt\n")
    assert counts(draw("nimagenet", tmp_path)) == 2 * ({"tench": 2, "jersey": 2},)


def test_an_empty_class(tmp_path: Path) -> None:
    write_nimagenet(tmp_path)
    for side in ("train", "val"):
        (tmp_path / f"extracted_{side}" / "n02012849").mkdir()
    with pytest.raises(InputError, match=r"the class `n02012849` of .* is empty"):
        draw("nimagenet", tmp_path)


def test_a_calibration(tmp_path: Path) -> None:
    write_caltech(tmp_path / "N/Caltech101", ("dog", "truck"))
    calibrate("event", "ncaltech101", tmp_path / "N", tmp_path / "B")
    section = Bundle.open(tmp_path / "B").section("data")
    assert (section["train"], section["held_out"]) == (8, 4)
