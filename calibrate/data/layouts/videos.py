"""MSR-VTT and UCF-101: films, and lists of the published splits."""

from __future__ import annotations

import re
from typing import Any

from advcal_edge.calibrate.data.layouts.listing import Listing, Side
from advcal_edge.calibrate.data.layouts.registry import layout
from advcal_edge.calibrate.data.layouts.root import AGAIN, Root
from advcal_edge.errors import InputError

MSRVTT = layout("msrvtt", modality="video", title="MSR-VTT")
UCF101 = layout("ucf101", modality="video", title="UCF-101", folds=3, fold=1)

CATEGORIES = (
    "music", "people", "gaming", "sports/actions", "news/events/politics", "education", "tv shows", "movie/comedy",
    "animation", "vehicles/autos", "howto", "travel", "science/technology", "animals/pets", "kids/family",
    "documentary", "food/drink", "cooking", "beauty/fashion", "advertisement",
)  # fmt: skip
"""`category.txt` of the challenge, by number."""

TRAIN, TEST = "train_val_videodatainfo.json", "test_videodatainfo.json"


@MSRVTT.form(TRAIN, TEST)
def read_msrvtt(root: Root) -> Listing:
    """Films of the split `train`, and those of `test` held out; `validate` is left to the user."""
    train = _read_films(root, TRAIN, "train", root.first("TrainValVideo", "videos/all", "videos"))
    return Listing(train, _read_films(root, TEST, "test", root.first("TestVideo", "videos/all", "videos")))


@UCF101.form("UCF-101", "ucfTrainTestlist/trainlist01.txt", "ucfTrainTestlist/testlist01.txt")
def read_ucf101(root: Root) -> Listing:
    """Split 1, 2 or 3; `ApplyEyeMakeup` is labelled `Apply Eye Makeup`."""
    lists = (f"ucfTrainTestlist/{name}{root.fold:02}.txt" for name in ("trainlist", "testlist"))
    train, held_out = (_read_list(root, name) for name in lists)
    return Listing(train, held_out)


def _read_films(root: Root, name: str, split: str, folder: str) -> Side:
    """The films of one split in a JSON file."""
    side, document = Side(), root.document(name)
    films = document.get("videos") if isinstance(document, dict) else None
    if not isinstance(films, list):
        raise InputError(f"`{root.path / name}` has no list `videos`", hint=AGAIN)
    for index, film in enumerate(films, 1):
        place = (name, index)
        number, film_id, own = (_field(film, key, root.at(place)) for key in ("category", "video_id", "split"))
        if own == split:
            category = root.number(str(number), 0, len(CATEGORIES) - 1, place)
            side.add(CATEGORIES[category], [f"{folder}/{root.below(f'{film_id}.mp4', place)}"])
    return side


def _field(film: Any, key: str, where: str) -> Any:
    """A field of a film: a text, or a number for the category."""
    value = film.get(key) if isinstance(film, dict) else None
    if not isinstance(value, int if key == "category" else str):
        raise InputError(f"{where}: `{key}` is {ascii(value)[:60]}; expected its published value", hint=AGAIN)
    return value


def _read_list(root: Root, name: str) -> Side:
    """Lines of a film below its class, like `Archery/v_Archery_g08_c01.avi 3`; the number is in the training list."""
    side = Side()
    for line, place in root.lines(name):
        path = root.below(re.sub(r"\s+\d+$", "", line), place)
        label, slash, _ = path.partition("/")
        if not slash:
            raise InputError(f"{root.at(place)}: {ascii(line)[:80]} names no film below a class", hint=AGAIN)
        side.add(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label), [f"UCF-101/{path}"])
    return side
