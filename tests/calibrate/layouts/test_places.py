"""Places365 by its lists and by its folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniature import counts, draw, names, write, write_frames

from advcal_edge.errors import InputError

CATEGORIES = "/a/airfield 0\n/a/apartment_building/outdoor 1\n/y/youth_hostel 2\n"
LABELS = ("airfield", "apartment building outdoor")


def write_lists(root: Path, train: str = "data_256", val: str = "val_256") -> Path:
    paths = [f"/a/{name}/{place:08}.jpg" for name in ("airfield", "apartment_building/outdoor") for place in (1, 2)]
    write_frames(root / train / path[1:] for path in paths)
    write_frames((root / val / f"Places365_val_{place:08}.jpg" for place in (1, 2, 3)), first=50)
    write(root / "categories_places365.txt", CATEGORIES)
    write(root / "places365_train_standard.txt", "".join(f"{p} {int('outdoor' in p)}\n" for p in paths))
    write(root / "places365_val.txt", "".join(f"Places365_val_{place:08}.jpg {place % 2}\n" for place in (1, 2, 3)))
    return root


@pytest.mark.parametrize(
    ("train", "val"), [("data_256", "val_256"), ("data_256_standard", "val_256"), ("data_large_standard", "val_large")]
)
def test_lists(train: str, val: str, tmp_path: Path) -> None:
    drawn = draw("places365", write_lists(tmp_path, train, val))
    assert counts(drawn) == (dict.fromkeys(LABELS, 2), dict(zip(LABELS, (1, 2), strict=True)))
    assert names(drawn) == [f"Places365_val_{place:08}.jpg" for place in (1, 2, 3)]


@pytest.mark.parametrize("above", ["", "places365_standard"])
def test_folders_have_the_same_labels(above: str, tmp_path: Path) -> None:
    folders = [f"{side}/{name}" for side in ("train", "val") for name in ("airfield", "apartment_building-outdoor")]
    write_frames(tmp_path / above / folder / "00000001.jpg" for folder in folders)
    assert counts(draw("places365", tmp_path)) == (dict.fromkeys(LABELS, 1), dict.fromkeys(LABELS, 1))


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("places365_train_standard.txt", "/../../a.jpg 0\n", "entry 1: '../../a.jpg' leaves the folder"),
        ("places365_train_standard.txt", "//etc/passwd 0\n", "'/etc/passwd' leaves the folder"),
        ("places365_train_standard.txt", "/a/airfield/1.jpg 3\n", "has no category '3'"),
        ("places365_train_standard.txt", "/a/airfield/1.jpg\n", "has no category '/a/airfield/1.jpg'"),
        ("places365_val.txt", "a.jpg\x00 0\n", "leaves the folder"),
        ("places365_val.txt", " 0\n", "'' leaves the folder|has no category"),
        ("categories_places365.txt", "", "has no category '0'"),
    ],
)
def test_broken_lists(name: str, text: str, found: str, tmp_path: Path) -> None:
    write_lists(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=found):
        draw("places365", tmp_path)


def test_lists_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lists(tmp_path)
    monkeypatch.setenv("ADVCAL_MAX_LISTED_FILES", "3")
    with pytest.raises(InputError, match="has 4 files; expected at most 3"):
        draw("places365", tmp_path)
    monkeypatch.setenv("ADVCAL_MAX_LISTING_BYTES", "20")
    with pytest.raises(InputError, match="bytes; expected at most 20"):
        draw("places365", tmp_path)
