"""ImageNet in each form in which it is published: folders, a list of Kaggle, the development kit, annotations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from miniature import calibrate, counts, draw, names, write, write_frames
from scipy.io import savemat

from advcal_edge.bundle import Bundle
from advcal_edge.errors import InputError

TENCH, CRANE, MACHINE, SHIRT = "n01440764", "n02012849", "n03126707", "n03595614"
MAPPING = (
    f"{TENCH} tench, Tinca tinca\n{CRANE} crane\n{MACHINE} crane\n{SHIRT} jersey, T-shirt, tee shirt\n"
    "n03710637 maillot\nn03710721 maillot, tank suit\n"
)
VAL = tuple(f"ILSVRC2012_val_{place:08}.JPEG" for place in range(1, 5))
CLASSES = (TENCH, SHIRT, TENCH, SHIRT)
"""Of each picture to validate with."""


def write_train(folder: Path, wnids: tuple[str, ...] = (TENCH, SHIRT), each: int = 3) -> None:
    write_frames(folder / wnid / f"{wnid}_{place}.JPEG" for wnid in wnids for place in range(each))


def write_flat(folder: Path) -> None:
    write_frames((folder / name for name in VAL), first=500)


def write_kit(folder: Path, packed: bool = True) -> None:
    """`meta.mat` as the development kit has it, inner nodes last, and the numbers of the true classes."""
    rows = [(1, SHIRT, "jersey, T-shirt"), (2, CRANE, "crane"), (3, TENCH, "tench, Tinca tinca"), (1001, CRANE, "bird")]
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("children", "O")]
    table = np.empty((len(rows), 1), fields)
    for place, (number, wnid, words) in enumerate(rows):
        table[place, 0] = (float(number), wnid, words, "what it is", np.array([[1.0, 2.0]]) if number > 1000 else [])
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "meta.mat", {"synsets": table}, do_compression=packed)
    numbers = {SHIRT: 1, TENCH: 3}
    truth = "".join(f"{numbers[wnid]}\n" for wnid in CLASSES)
    write(folder / "ILSVRC2012_validation_ground_truth.txt", truth)


EXPECTED = ({"jersey": 3, "tench": 3}, {"jersey": 2, "tench": 2})


def test_folders(tmp_path: Path) -> None:
    write_train(tmp_path / "train")
    write_frames((tmp_path / "val" / wnid / name for name, wnid in zip(VAL, CLASSES, strict=True)), first=500)
    write(tmp_path / "train" / "readme" / "a.JPEG", b"ignored")
    write(tmp_path / "train" / TENCH / ".hidden.JPEG", b"ignored")
    write(tmp_path / "train" / TENCH / "list.txt", b"ignored")
    assert counts(draw("imagenet", tmp_path)) == ({TENCH: 3, SHIRT: 3}, {TENCH: 2, SHIRT: 2})
    write(tmp_path / "LOC_synset_mapping.txt", MAPPING)
    drawn = draw("imagenet", tmp_path)
    assert counts(drawn) == EXPECTED
    assert names(drawn) == list(VAL)


@pytest.mark.parametrize("form", ["challenge", "challenge folder", "flat"])
def test_lists_of_kaggle(form: str, tmp_path: Path) -> None:
    pictures = {"challenge": "ILSVRC/Data/CLS-LOC", "challenge folder": "Data/CLS-LOC", "flat": "."}[form]
    write_train(tmp_path / pictures / "train")
    write_flat(tmp_path / pictures / "val")
    write(tmp_path / "LOC_synset_mapping.txt", MAPPING)
    rows = [
        f"{name.removesuffix('.JPEG')},{wnid} 1 2 30 40 {wnid} 5 6 7 8 \n"
        for name, wnid in zip(VAL, CLASSES, strict=True)
    ]
    write(tmp_path / "LOC_val_solution.csv", "ImageId,PredictionString\n" + "".join(rows))
    assert counts(draw("imagenet", tmp_path)) == EXPECTED


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kit", ["ILSVRC2012_devkit_t12/data", "devkit/data", "."])
def test_development_kit(kit: str, packed: bool, tmp_path: Path) -> None:
    write_train(tmp_path / "train")
    write_flat(tmp_path / "val")
    write_kit(tmp_path / kit, packed)
    assert counts(draw("imagenet", tmp_path)) == EXPECTED


def test_development_kit_of_later_years(tmp_path: Path) -> None:
    write_train(tmp_path / "train")
    write_flat(tmp_path / "val")
    write_kit(tmp_path / "devkit/data")
    (tmp_path / "devkit/data/meta.mat").unlink()
    write(tmp_path / "devkit/data/map_clsloc.txt", f"{SHIRT} 1 jersey\n{CRANE} 2 crane\n{TENCH} 3 tench\n")
    index = {"0": [TENCH, "tench"], "610": [SHIRT, "jersey"], "517": [MACHINE, "crane"]}
    write(tmp_path / "imagenet_class_index.json", json.dumps(index))
    assert counts(draw("imagenet", tmp_path)) == EXPECTED


def test_annotations(tmp_path: Path) -> None:
    write_train(tmp_path / "ILSVRC/Data/CLS-LOC/train")
    write_flat(tmp_path / "ILSVRC/Data/CLS-LOC/val")
    write(tmp_path / "synset_words.txt", MAPPING)
    for name, wnid in zip(VAL, CLASSES, strict=True):
        box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>8</xmax><ymax>9</ymax></bndbox>"
        text = f"<annotation><object><name>{wnid}</name>{box}</object></annotation>"
        write(tmp_path / "ILSVRC/Annotations/CLS-LOC/val" / name.replace("JPEG", "xml"), text)
    assert counts(draw("imagenet", tmp_path)) == EXPECTED


def test_classes_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    wnids = (CRANE, MACHINE, "n03710637", "n03710721")
    write_train(tmp_path / "train", wnids, each=1)
    write_frames((tmp_path / "val" / wnid / "a.JPEG" for wnid in wnids), first=500)
    write(tmp_path / "LOC_synset_mapping.txt", MAPPING)
    labels = (f"crane ({CRANE})", f"crane ({MACHINE})", "maillot", "maillot, tank suit")
    assert draw("imagenet", tmp_path).train.names == labels


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("LOC_val_solution.csv", "ImageId,PredictionString\n../../a,n01440764 1\n", "leaves the folder"),
        ("LOC_val_solution.csv", "ImageId,PredictionString\na,tench 1\n", "'tench' is no class"),
        ("LOC_val_solution.csv", "ImageId,PredictionString\na, \n", "expected a value for ImageId, PredictionString"),
        (
            "ILSVRC2012_validation_ground_truth.txt",
            "1\n0\n",
            "entry 2: found '0'; expected a whole number from 1 to 1000",
        ),
        ("ILSVRC2012_validation_ground_truth.txt", "4\n", "no class has the number 4"),
        ("meta.mat", "MATLAB 5.0 MAT-file", "no readable .mat file"),
        ("Annotations/CLS-LOC/val/x", "", "cannot read .*ILSVRC2012_val_00000001.xml"),
        ("nothing", "", "nothing says the classes of its pictures; expected `LOC_val_solution.csv`"),
    ],
)
def test_broken_lists(name: str, text: str, found: str, tmp_path: Path) -> None:
    write_train(tmp_path / "train")
    write_flat(tmp_path / "val")
    if name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
        write_kit(tmp_path)
    write(tmp_path / name, text)
    with pytest.raises(InputError, match=found):
        draw("imagenet", tmp_path)


def test_a_picture_of_the_list_that_is_missing(tmp_path: Path) -> None:
    write_train(tmp_path / "train")
    write_flat(tmp_path / "val")
    write_kit(tmp_path)
    (tmp_path / "val" / VAL[2]).unlink()
    with pytest.raises(InputError, match=r"(?s)1 of 4 files.*cannot read .*val_00000003"):
        draw("imagenet", tmp_path)
    drawn = draw("imagenet", tmp_path, skip_bad=True)
    assert (drawn.skipped, len(drawn.held_out)) == (1, 3)


def test_a_calibration(tmp_path: Path) -> None:
    wnids = ("n00000001", "n00000002")
    write_train(tmp_path / "I/train", wnids, each=6)
    write_frames((tmp_path / "I/val" / wnid / f"{place}.JPEG" for wnid in wnids for place in range(4)), first=500)
    write(tmp_path / "I/LOC_synset_mapping.txt", "n00000001 t-shirt, tee\nn00000002 ankle boot\n")
    calibrate("image", "imagenet", tmp_path / "I", tmp_path / "B")
    assert Bundle.open(tmp_path / "B").centers().labels == ("t-shirt", "ankle boot")
