"""Places365-Standard: lists with numbered categories, or one folder a class (the "easy format")."""

from __future__ import annotations

from collections.abc import Mapping

from advcal_edge.calibrate.data.layouts.listing import Listing, Side, spoken
from advcal_edge.calibrate.data.layouts.registry import layout
from advcal_edge.calibrate.data.layouts.root import AGAIN, Root
from advcal_edge.errors import InputError

PLACES365 = layout("places365", modality="image", title="Places365-Standard")

CATEGORIES, TRAIN, VAL = "categories_places365.txt", "places365_train_standard.txt", "places365_val.txt"
PICTURES = (".jpg", ".jpeg", ".png")


@PLACES365.form(CATEGORIES, TRAIN, VAL)
def read_lists(root: Root) -> Listing:
    """Pictures of 256 pixels, or the large ones, in folders as the archives or as torchvision name them."""
    labels = {}
    for line, _ in root.lines(CATEGORIES):
        name, _, number = line.rpartition(" ")
        labels[number] = _label(name)
    train = root.first("data_256", "data_256_standard", "data_large", "data_large_standard")
    held_out = root.first("val_256", "val_large")
    return Listing(_read_list(root, TRAIN, train, labels), _read_list(root, VAL, held_out, labels))


@PLACES365.form("train/airfield", "val/airfield")
def read_folders(root: Root) -> Listing:
    """One folder a class on either side."""
    return Listing(root.classes("train", _label, *PICTURES), root.classes("val", _label, *PICTURES))


@PLACES365.form("places365_standard/train/airfield", "places365_standard/val/airfield")
def read_unpacked_folders(root: Root) -> Listing:
    """The same in the folder that the archive makes."""
    train, val = (root.classes(f"places365_standard/{part}", _label, *PICTURES) for part in ("train", "val"))
    return Listing(train, val)


def _read_list(root: Root, name: str, folder: str, labels: Mapping[str, str]) -> Side:
    """Lines of a path and the number of a category, like `/a/airfield/00000001.jpg 0`."""
    side = Side()
    for line, place in root.lines(name):
        path, _, number = line.rpartition(" ")
        if number not in labels:
            raise InputError(f"{root.at(place)}: `{CATEGORIES}` has no category {ascii(number)[:40]}", hint=AGAIN)
        side.add(labels[number], (f"{folder}/{root.below(path.removeprefix('/'), place)}",))
    return side


def _label(name: str) -> str:
    """`/a/apartment_building/outdoor`, or `apartment_building-outdoor` as a folder, is `apartment building outdoor`."""
    parts = name.split("/")
    if name.startswith("/") and len(parts) > 2:  # the first is the initial
        parts = parts[2:]
    return spoken(" ".join(parts).replace("-", " "))
