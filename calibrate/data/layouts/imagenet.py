"""ImageNet-1K (ILSVRC 2012): folders of classes; pictures to validate with may lie in one folder, with a list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from pathlib import PurePosixPath

from advcal_edge.calibrate.data.layouts.listing import Listing, distinct, spoken
from advcal_edge.calibrate.data.layouts.matlab import read_matlab
from advcal_edge.calibrate.data.layouts.registry import layout
from advcal_edge.calibrate.data.layouts.root import AGAIN, Root
from advcal_edge.calibrate.data.layouts.voc import read_voc
from advcal_edge.errors import InputError

IMAGENET = layout("imagenet", modality="image", title="ImageNet-1K")

WNID = re.compile(r"n\d{8}")
PICTURES = (".jpeg", ".jpg", ".png")
CLASSES = 1000

SOLUTION = "LOC_val_solution.csv"
MAPPINGS, INDEX = ("LOC_synset_mapping.txt", "synset_words.txt"), "imagenet_class_index.json"
DEVKITS = ("ILSVRC2012_devkit_t12/data/", "devkit/data/", "")
TRUTH, META, MAP = "ILSVRC2012_validation_ground_truth.txt", "meta.mat", "map_clsloc.txt"


@IMAGENET.form("train/n*", "val")
def read_folders(root: Root) -> Listing:
    """As most people arrange it, and as the archives of image-net.org unpack."""
    return _read(root, "", "Annotations/CLS-LOC/val")


@IMAGENET.form("ILSVRC/Data/CLS-LOC/train/n*", "ILSVRC/Data/CLS-LOC/val")
def read_challenge(root: Root) -> Listing:
    """As the archive of the later challenges unpacks, which is Kaggle's."""
    return _read(root, "ILSVRC/Data/CLS-LOC/", "ILSVRC/Annotations/CLS-LOC/val")


@IMAGENET.form("Data/CLS-LOC/train/n*", "Data/CLS-LOC/val")
def read_challenge_folder(root: Root) -> Listing:
    """The same, if `root` is the folder ILSVRC itself."""
    return _read(root, "Data/CLS-LOC/", "Annotations/CLS-LOC/val")


def wnids(root: Root, folder: str) -> list[str]:
    """The folders that are called like a class, `n` and eight digits."""
    return [name for name in root.folders(folder) if WNID.fullmatch(name)]


def class_names(root: Root, classes: Set[str]) -> dict[str, str]:
    """The label of each class: its first word in the first file that has words, or else its own number.

    Where two classes share the first word, they have all of theirs; `crane`, which is two classes, its number too.
    """
    words: dict[str, list[str]] = {wnid: [] for wnid in classes}
    for wnid, text in _words(root):
        if wnid in words:
            words[wnid] = [spoken(text.split(",")[0]), spoken(text)]
    return distinct(words)


def _read(root: Root, pictures: str, annotations: str) -> Listing:
    train, val = f"{pictures}train", f"{pictures}val"
    classes = set(wnids(root, val))
    listed = [] if classes else list(_val_classes(root, val, annotations))
    names = class_names(root, {*wnids(root, train), *classes, *(wnid for _, wnid in listed)})
    held_out = root.classes(val, names.get, *PICTURES)
    for name, wnid in listed:
        held_out.add(names[wnid], [f"{val}/{name}"])
    return Listing(root.classes(train, names.get, *PICTURES), held_out)


def _val_classes(root: Root, val: str, annotations: str) -> Iterator[tuple[str, str]]:
    """The name and the class of each picture to validate with, by whichever list there is."""
    kit = next((folder for folder in DEVKITS if root.has(folder + TRUTH)), None)
    if root.has(SOLUTION):
        for (name, boxes), place in root.rows(SOLUTION, "ImageId", "PredictionString"):
            yield root.below(f"{name}.JPEG", place), _checked(boxes.split()[0], root.at(place))
    elif kit is not None:
        classes = _numbered(root, kit)
        for word, place in root.lines(kit + TRUTH):
            number = root.number(word.strip(), 1, CLASSES, place)
            if number not in classes:
                raise InputError(f"{root.at(place)}: no class has the number {number}", hint=AGAIN)
            yield f"ILSVRC2012_val_{place[1]:08}.JPEG", classes[number]
    elif root.has(annotations):
        for name in root.files(val, *PICTURES):
            path = root.path / annotations / f"{PurePosixPath(name).stem}.xml"
            objects = read_voc(path).objects
            if not objects:
                raise InputError(f"`{path}` names no object; expected the class of `{name}`", hint=AGAIN)
            yield name, _checked(objects[0][0], f"`{path}`")
    else:
        raise InputError(
            f"`{root.path / val}` has no folders of classes, and nothing says the classes of its pictures; expected"
            f" `{SOLUTION}`, `{DEVKITS[0]}{TRUTH}` or `{annotations}/`",
            hint="unpack the development kit beside it, or move each picture into the folder of its class",
        )


def _numbered(root: Root, kit: str) -> Mapping[int, str]:
    """Class by its number in the development kit."""
    if root.has(kit + META):
        return {number: wnid for number, wnid, _ in _synsets(root, kit)}
    classes = {}
    for line, place in root.lines(kit + MAP):
        wnid, word, *_ = [*line.split(), "", ""]
        classes[root.number(word, 1, CLASSES, place)] = _checked(wnid, root.at(place))
    return classes


def _words(root: Root) -> Iterator[tuple[str, str]]:
    """Classes and their words, by the first file that has them."""
    mapping = next((name for name in MAPPINGS if root.has(name)), None)
    kit = next((folder for folder in DEVKITS if root.has(folder + META)), None)
    if mapping is not None:
        for line, _ in root.lines(mapping):
            wnid, _, text = line.partition(" ")
            yield wnid, text
    elif root.has(INDEX):
        document = root.document(INDEX)
        for pair in document.values() if isinstance(document, dict) else ():
            if isinstance(pair, list) and len(pair) == 2 and all(isinstance(word, str) for word in pair):
                yield pair[0], pair[1]
    elif kit is not None:
        yield from ((wnid, text) for _, wnid, text in _synsets(root, kit))


def _synsets(root: Root, kit: str) -> Iterator[tuple[int, str, str]]:
    """Number, class and words of the leaves in `meta.mat`; the inner nodes of the hierarchy have larger numbers."""
    path = root.path / kit / META
    table = read_matlab(path).get("synsets")
    wanted = ("ILSVRC2012_ID", "WNID", "words")
    if not isinstance(table, dict) or not set(wanted) <= set(table):
        raise InputError(f"`{path}` has no synsets; expected {', '.join(f'`{name}`' for name in wanted)}", hint=AGAIN)
    for number, wnid, words in zip(*(table[name] for name in wanted), strict=True):
        if not (isinstance(wnid, str) and isinstance(words, str) and isinstance(number, float)):
            raise InputError(f"`{path}` has other synsets than those of ILSVRC 2012", hint=AGAIN)
        if 1 <= number <= CLASSES:
            yield int(number), _checked(wnid, f"`{path}`"), words


def _checked(wnid: str, where: str) -> str:
    if not WNID.fullmatch(wnid):
        raise InputError(f"{where}: {ascii(wnid)[:40]} is no class; expected `n` and eight digits", hint=AGAIN)
    return wnid
