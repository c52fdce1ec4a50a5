"""LLVIP: thermal and visible pictures of the same scenes at night, with the boxes of persons.

The set was published for detection. To tell persons from background, as ImageBind does, each box gives a frame `person`
and, where there is room, a frame `background` of the same size from the same picture. Frames are squares as long as the
longer side of the box: encoders take squares, and would cut off head and feet.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from advcal_edge.calibrate.data.layouts.crops import clipped, square_around, squares_beside
from advcal_edge.calibrate.data.layouts.listing import Listing, Side
from advcal_edge.calibrate.data.layouts.registry import layout
from advcal_edge.calibrate.data.layouts.root import AGAIN, Root
from advcal_edge.calibrate.data.layouts.voc import read_voc
from advcal_edge.errors import InputError

LLVIP = layout("llvip", modality="thermal", title="LLVIP", pairs="image")

PERSON, BACKGROUND = "person", "background"
PICTURES = (".jpg", ".jpeg", ".png")


@LLVIP.form("infrared/train", "infrared/test", "Annotations")
def read_llvip(root: Root) -> Listing:
    """Crops of `infrared/train` and `infrared/test`; a partner is the same crop of `visible/`."""
    return Listing(_read_side(root, "infrared/train"), _read_side(root, "infrared/test"), _visible)


def _read_side(root: Root, folder: str) -> Side:
    side = Side()
    for name in root.files(folder, *PICTURES):
        path = root.path / "Annotations" / f"{PurePosixPath(name).stem}.xml"
        annotation = read_voc(path)
        width, height = annotation.width, annotation.height
        if not (width > 0 and height > 0):
            raise InputError(f"`{path}` says that a picture is {width} x {height}; expected its size", hint=AGAIN)
        named = (clipped(box, width, height) for label, box in annotation.objects if label == PERSON)
        boxes = [box for box in named if box is not None]  # a few in the set have no area
        squares = [square_around(box, width, height) for box in boxes]
        file = f"{folder}/{name}"
        side.add(PERSON, [file] * len(squares), squares)
        if boxes:
            sides = [right - left for left, _, right, _ in squares]
            beside = squares_beside(boxes, sides, width, height, file)
            side.add(BACKGROUND, [file] * len(beside), beside)
    return side


def _visible(file: str) -> str:
    return f"visible/{file.removeprefix('infrared/')}"
