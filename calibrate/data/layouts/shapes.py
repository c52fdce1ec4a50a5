"""ModelNet40 and ShapeNet: meshes one folder a class, or sampled points and lists."""

from __future__ import annotations

from collections.abc import Mapping

from advcal_edge.calibrate.data.layouts.listing import Listing, Side, distinct, spoken
from advcal_edge.calibrate.data.layouts.registry import layout
from advcal_edge.calibrate.data.layouts.root import AGAIN, Root
from advcal_edge.errors import InputError

MODELNET40 = layout("modelnet40", modality="point", title="ModelNet40")
SHAPENET = layout("shapenet", modality="point", title="ShapeNet")

TABLE, TAXONOMY = "all.csv", "taxonomy.json"
PART_SPLIT, PART_NAMES = "train_test_split/shuffled_{}_file_list.json", "synsetoffset2category.txt"


@MODELNET40.form("*/train/*.off", "*/test/*.off")
def read_meshes(root: Root) -> Listing:
    """Meshes of Princeton's archive; ModelNet10's has the same arrangement."""
    train, held_out = Side(), Side()
    for name in root.folders():
        for side, part in ((train, "train"), (held_out, "test")):
            folder = f"{name}/{part}"
            if root.has(folder):
                side.add(spoken(name), [f"{folder}/{file}" for file in root.files(folder, ".off")])
    return Listing(train, held_out)


@MODELNET40.form("modelnet40_train.txt", "modelnet40_test.txt")
def read_resampled(root: Root) -> Listing:
    """10,000 points of each mesh with their normals, the form `modelnet40_normal_resampled`."""
    return Listing(_read_shapes(root, "modelnet40_train.txt"), _read_shapes(root, "modelnet40_test.txt"))


@SHAPENET.form(TABLE, "*/*/models/model_normalized.obj")
def read_core(root: Root) -> Listing:
    """ShapeNetCore.v2 with the split of SHREC 2016: `train`, and `test` held out; `val` is left to the user."""
    return _read_core(root, "models/model_normalized.obj")


@SHAPENET.form(TABLE, "*/*/model.obj")
def read_core_first(root: Root) -> Listing:
    """The same of ShapeNetCore.v1."""
    return _read_core(root, "model.obj")


@SHAPENET.form(PART_SPLIT.format("train"), PART_SPLIT.format("test"), PART_NAMES)
def read_parts(root: Root) -> Listing:
    """The points of ShapeNet's part annotation with their normals; `val` is left to the user."""
    names = {}
    for line, place in root.lines(PART_NAMES):
        label, *synset = line.split()
        if len(synset) != 1:
            raise InputError(f"{root.at(place)}: {ascii(line)[:60]} is no category and its synset", hint=AGAIN)
        names[synset[0]] = spoken(label)
    train, test = PART_SPLIT.format("train"), PART_SPLIT.format("test")
    return Listing(_read_parts(root, train, names), _read_parts(root, test, names))


def _read_shapes(root: Root, name: str) -> Side:
    """Lines of a class, an underscore and a number."""
    side = Side()
    for line, place in root.lines(name):
        shape = root.below(line.strip(), place)
        label = shape.rpartition("_")[0]
        if not label or "/" in shape:
            raise InputError(f"{root.at(place)}: {ascii(line)[:60]} is no shape like `night_stand_0001`", hint=AGAIN)
        side.add(spoken(label), [f"{label}/{shape}.txt"])
    return side


def _read_parts(root: Root, name: str, names: Mapping[str, str]) -> Side:
    """A list of texts `shape_data/SYNSET/SHAPE`."""
    side, shapes = Side(), root.document(name)
    if not isinstance(shapes, list) or not all(isinstance(shape, str) for shape in shapes):
        raise InputError(f"`{root.path / name}` is no list of texts", hint=AGAIN)
    for number, shape in enumerate(shapes, 1):
        parts = root.below(shape, (name, number)).split("/")
        if len(parts) != 3 or parts[1] not in names:
            raise InputError(
                f"{root.at((name, number))}: {ascii(shape)[:80]} is no shape of a synset in `{PART_NAMES}`,"
                " like `shape_data/02691156/1a04e3eab45ca15dd86060f189eb133`",
                hint=AGAIN,
            )
        side.add(names[parts[1]], [f"{parts[1]}/{parts[2]}.txt"])
    return side


def _read_core(root: Root, model: str) -> Listing:
    """Models of the table; synsets there may lack their leading zeros."""
    found: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    synsets = set()
    for (synset, name, split), place in root.rows(TABLE, "synsetId", "modelId", "split"):
        folder = root.below(f"{synset.zfill(8)}/{name}", place)
        if split in found:
            found[split].setdefault(synset.zfill(8), []).append(f"{folder}/{model}")
            synsets.add(synset.zfill(8))
    names = distinct({synset: words for synset, words in _taxonomy(root).items() if synset in synsets})
    sides = Side(), Side()
    for side, models in zip(sides, found.values(), strict=True):
        for synset, files in models.items():
            side.add(names.get(synset, synset), files)
    return Listing(*sides)


def _taxonomy(root: Root) -> dict[str, list[str]]:
    """First word and all words of each synset, if the taxonomy lies there."""
    document = root.document(TAXONOMY) if root.has(TAXONOMY) else []
    words = {}
    for entry in document if isinstance(document, list) else ():
        synset, text = (entry.get(key) if isinstance(entry, dict) else None for key in ("synsetId", "name"))
        if not (isinstance(synset, str) and isinstance(text, str)):
            raise InputError(f"`{root.path / TAXONOMY}` has an entry without `synsetId` or `name`", hint=AGAIN)
        words[synset] = [spoken(text.split(",")[0]), spoken(text)]
    return words
