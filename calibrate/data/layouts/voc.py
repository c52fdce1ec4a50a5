"""Annotations of PASCAL VOC in XML: the size of a picture, and the name and the box of each object in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from advcal_edge import limits
from advcal_edge.calibrate.data.layouts.listing import Box
from advcal_edge.errors import InputError
from advcal_edge.storage import read_bytes

SIZE = ("width", "height")
EDGES = ("xmin", "ymin", "xmax", "ymax")
FARTHEST = 10**6
MOST_OBJECTS = 10_000


@dataclass(slots=True)
class Annotation:
    """What a file says of a picture; sides are 0 if it says nothing of them."""

    width: int = 0
    height: int = 0
    objects: list[tuple[str, Box]] = field(default_factory=list)


def read_voc(path: Path) -> Annotation:
    """The annotation in a file.

    Raises:
        InputError: missing, too large, no XML, with a document type (which could define entities), or without numbers.
    """
    data = read_bytes(path, limits.DOCUMENT_BYTES, InputError)
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.text
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(
            f"`{path}` is no readable annotation of PASCAL VOC: {error}", hint="unpack the annotations again"
        ) from error
    return reader.found


class _Reader:
    """Keeps what stands in `size` and in each `object`, whatever else there is."""

    def __init__(self) -> None:
        self.found = Annotation()
        self.path: list[str] = []
        self.words = ""
        self.values: dict[str, str] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name)
        self.words = ""
        if len(self.path) > limits.JSON_DEPTH.value:
            raise ValueError(f"more than {limits.JSON_DEPTH.value} levels of nesting")
        if self.path[1:] == ["object"]:
            self.values = {}

    def text(self, words: str) -> None:
        self.words += words

    def end(self, name: str) -> None:
        inner, words = self.path[1:], self.words.strip()
        if inner in (["object", "name"], *(["object", "bndbox", edge] for edge in EDGES)):
            self.values[inner[-1]] = words
        elif inner in (["size", "width"], ["size", "height"]):
            setattr(self.found, name, _whole(words))
        elif inner == ["object"]:
            left, top, right, bottom = (_whole(self.values[edge]) for edge in EDGES)
            self.found.objects.append((self.values["name"], (left, top, right, bottom)))
            if len(self.found.objects) > MOST_OBJECTS:
                raise ValueError(f"more than {MOST_OBJECTS} objects")
        self.path.pop()
        self.words = ""


def _whole(words: str) -> int:
    number = int(float(words))
    if abs(number) > FARTHEST:
        raise ValueError(f"{number} pixels")
    return number


def _refuse(*declaration: Any) -> None:
    raise ValueError("it declares a document type")
