"""ModelNet40 and ShapeNet as meshes and as sampled points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from miniature import calibrate, counts, draw, names, write, write_frames

from advcal_edge.bundle import Bundle
from advcal_edge.errors import InputError

PLANE, BENCH = "02691156", "02828884"
TAXONOMY = [
    {"synsetId": PLANE, "name": "airplane,aeroplane,plane", "children": ["02690373"], "numInstances": 4045},
    {"synsetId": BENCH, "name": "bench", "children": [], "numInstances": 1813},
]


def write_modelnet(root: Path, labels: tuple[str, ...] = ("chair", "night_stand"), each: int = 2) -> Path:
    parts = [(label, part, place) for label in labels for part in ("train", "test") for place in range(each)]
    write_frames(root / label / part / f"{label}_{place:04}.off" for label, part, place in parts)
    return root


def write_resampled(root: Path) -> Path:
    lists = {"train": ("chair_0001", "night_stand_0001"), "test": ("chair_0002", "night_stand_0002")}
    for place, (part, shapes) in enumerate(lists.items()):
        write_frames((root / shape.rpartition("_")[0] / f"{shape}.txt" for shape in shapes), first=10 * place)
        write(root / f"modelnet40_{part}.txt", "\n".join(shapes) + "\n")
    return root


def write_core(root: Path, model: str = "models/model_normalized.obj", zeros: bool = True) -> Path:
    rows = [(synset, f"{synset}{split}", split) for synset in (PLANE, BENCH) for split in ("train", "val", "test")]
    write_frames(root / synset / name / model for synset, name, _ in rows)
    short = [(synset if zeros else synset.lstrip("0"), name, split) for synset, name, split in rows]
    lines = [f"{place:06},{synset},{synset},{name},{split}\n" for place, (synset, name, split) in enumerate(short)]
    write(root / "all.csv", "id,synsetId,subSynsetId,modelId,split\n" + "".join(lines))
    return root


def write_parts(root: Path) -> Path:
    for place, part in enumerate(("train", "val", "test")):
        shapes = [f"shape_data/{synset}/{synset}{part}" for synset in (PLANE, BENCH)]
        write_frames((root / f"{shape.removeprefix('shape_data/')}.txt" for shape in shapes), first=10 * place)
        write(root / f"train_test_split/shuffled_{part}_file_list.json", json.dumps(shapes))
    write(root / "synsetoffset2category.txt", f"Airplane\t{PLANE}\nBench\t{BENCH}\n")
    return root


def test_modelnet(tmp_path: Path) -> None:
    write(tmp_path / "__MACOSX" / "a", b"")
    assert counts(draw("modelnet40", write_modelnet(tmp_path))) == 2 * ({"chair": 2, "night stand": 2},)


def test_resampled_modelnet(tmp_path: Path) -> None:
    drawn = draw("modelnet40", write_resampled(tmp_path))
    assert counts(drawn) == 2 * ({"chair": 1, "night stand": 1},)
    assert names(drawn) == ["chair_0002.txt", "night_stand_0002.txt"]
    assert drawn.train.frames[0].shape == (20, 3)


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("model", ["models/model_normalized.obj", "model.obj"])
def test_core(model: str, zeros: bool, tmp_path: Path) -> None:
    write_core(tmp_path, model, zeros)
    drawn = draw("shapenet", tmp_path)
    assert counts(drawn) == 2 * ({PLANE: 1, BENCH: 1},)
    assert {path.relative_to(tmp_path).parts[1] for path in drawn.held_out.frames.paths} == {
        f"{PLANE}test", f"{BENCH}test"
    }  # fmt: skip
    write(tmp_path / "taxonomy.json", json.dumps(TAXONOMY))
    assert counts(draw("shapenet", tmp_path)) == 2 * ({"airplane": 1, "bench": 1},)


def test_parts(tmp_path: Path) -> None:
    drawn = draw("shapenet", write_parts(tmp_path))
    assert counts(drawn) == 2 * ({"Airplane": 1, "Bench": 1},)
    assert names(drawn) == [f"{PLANE}test.txt", f"{BENCH}test.txt"]


SPLIT = "train_test_split/shuffled_train_file_list.json"


@pytest.mark.parametrize(
    ("write_set", "name", "text", "found"),
    [
        (write_resampled, "modelnet40_train.txt", "chair_1\n../x_0001\n", "entry 2: '../x_0001' leaves the folder"),
        (write_resampled, "modelnet40_train.txt", "chair\n", "'chair' is no shape like"),
        (write_resampled, "modelnet40_train.txt", "_0001\n", "'_0001' is no shape like"),
        (write_resampled, "modelnet40_train.txt", "a/chair_0001\n", "is no shape like"),
        (write_core, "all.csv", "id,synsetId,modelId,split\n1,02691156,../../../x,train\n", "leaves the folder"),
        (write_core, "all.csv", "id,synsetId,split\n", "expected `synsetId`, `modelId`, `split`"),
        (write_core, "all.csv", "synsetId,modelId,split\n", "holds 0 classes"),
        (write_core, "taxonomy.json", "[{}]", "an entry without `synsetId` or `name`"),
        (write_core, "taxonomy.json", "{", "cannot be read as JSON"),
        (write_parts, SPLIT, '["shape_data/02691156/../../x"]', "leaves the folder"),
        (write_parts, SPLIT, '["shape_data/04090263/x"]', "is no shape of a synset"),
        (write_parts, SPLIT, '["x"]', "is no shape of a synset"),
        (write_parts, SPLIT, '{"a": 1}', "is no list of texts"),
        (write_parts, SPLIT, "[1]", "is no list of texts"),
        (write_parts, SPLIT, "[" * 100_000, "cannot be read as JSON"),
        (write_parts, "synsetoffset2category.txt", "Airplane\n", "'Airplane' is no category and its synset"),
    ],
)
def test_broken_lists(write_set: object, name: str, text: str, found: str, tmp_path: Path) -> None:
    assert callable(write_set)
    write_set(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=found):
        draw("modelnet40" if write_set is write_resampled else "shapenet", tmp_path)


def test_a_shape_of_the_list_that_is_missing(tmp_path: Path) -> None:
    write_resampled(tmp_path)
    (tmp_path / "chair/chair_0002.txt").unlink()
    with pytest.raises(InputError, match=r"(?s)1 of 2 files.*chair_0002.txt"):
        draw("modelnet40", tmp_path)


def test_a_calibration(tmp_path: Path) -> None:
    write_modelnet(tmp_path / "M", ("car", "hot_machine"), each=4)
    calibrate("point", "modelnet40", tmp_path / "M", tmp_path / "B")
    assert Bundle.open(tmp_path / "B").centers().labels == ("car", "hot machine")
