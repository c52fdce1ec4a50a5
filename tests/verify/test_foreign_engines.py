"""Engines made by others are judged like any other, and one that raises on a legal input has failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign import Surgeon, cast
from onnx import helper
from runs import failed
from saboteurs import after, constant_output, leaking_rows, shuffled_outputs
from tiny import DIM, Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.interface import Interface
from advcal_edge.spec import image
from advcal_edge.verify import Shard, VerifyOptions
from advcal_edge.verify.run import merge_shards, verify, verify_shard

LINEAR = Linear.random(image(8))
SHAPE = LINEAR.modality.input.shape
ALL, FEW = 200, 40

Edit = Callable[[onnx.GraphProto], None]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "B", LINEAR, ("fp32",), {}, samples=ALL, gradient=True)


def edited(edit: Edit) -> bytes:
    model = onnx.load_from_string(LINEAR.forward())
    edit(model.graph)
    return bytes(model.SerializeToString())


def foreign(path: Path, graph: bytes, size: int | str = "n") -> Path:
    """With pixels of whole numbers, channels last, names of its own, two half-precision outputs and this batch size."""
    surgeon = Surgeon(graph).give("Div", np.array(255, np.float32)).give("Cast", to=cast("float32"))
    surgeon.give("Transpose", perm=[0, 3, 1, 2]).take("Cast", to=cast("float16"))
    given, taken = ("pixels", "uint8", (size, 8, 8, 3)), ("embedding", "float16", (size, DIM))
    path.write_bytes(surgeon.close(given, taken, {"opposite": (("Neg", "z"), "float16", (size, DIM))}))
    return path


def run(bundle: Bundle, engine: Path, *options: str, samples: int = FEW) -> int:
    few = ["--reference", "onnx", "--sources", "none", "--samples", str(samples)]
    return main(["verify", str(bundle.path), "--engine", str(engine), *few, *options])


def report(bundle: Bundle) -> dict[str, Any]:
    (place,) = bundle.path.glob("reports/*/report.json")
    document: dict[str, Any] = json.loads(place.read_text())
    assert main(["verify", "--check", str(place), "--engine", str(bundle.path.parent / "other.onnx")]) == 0
    return document


HOW = ("--output", "embedding", "--layout", "nhwc", "--scale", "255")


def test_an_honest_copy_passes_and_runs_where_it_was_verified(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = foreign(tmp_path / "other.onnx", LINEAR.forward(), 8)
    assert run(bundle, engine, *HOW, samples=ALL) == 0
    assert "bridged   input `pixels` for `x`; fixed batch 8" in capsys.readouterr().out
    bridged = report(bundle)["measured"]["engine"]["bridged"]
    assert bridged == [
        "input `pixels` for `x`",
        "fixed batch 8, smaller ones padded",
        "nhwc input (n, 8, 8, 3) for (n, 3, 8, 8)",
        "uint8 input, x * 255 rounded",
        "output `embedding` of 2",
        "float16 output",
    ]
    for output in ("embedding", "opposite"):
        how = Interface(output, "nhwc", 255.0)
        assert Embedder.load(bundle.path, str(engine), interface=how).verified is (output == "embedding")
    assert main(["bench", str(bundle.path), "--engine", str(engine), "--seconds", "0", *HOW]) == 0
    assert f"FILES... --engine {engine} {' '.join(HOW)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "caught_by"),
    [(shuffled_outputs, "clean"), (constant_output, "clean"), (leaking_rows, "batch_independent")],
)
def test_broken_engines_fail_under_other_names_too(bundle: Bundle, tmp_path: Path, edit: Edit, caught_by: str) -> None:
    """In the last one the samples that fill up a batch change the embeddings of the others."""
    assert run(bundle, foreign(tmp_path / "other.onnx", edited(edit), 8), *HOW) == 1
    assert caught_by in failed(report(bundle))


def test_what_the_shapes_leave_open_must_be_stated(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = foreign(tmp_path / "other.onnx", LINEAR.forward())
    assert run(bundle, engine) == 2
    assert "hint: state the factor: `--scale 255`" in capsys.readouterr().err
    assert run(bundle, engine, "--scale", "255") == 2
    assert "`embedding` float16 (2, 6), `opposite` float16 (2, 6)" in capsys.readouterr().err.replace("\n", " ")
    assert main(["verify", str(bundle.path), "--output", "z"]) == 2
    assert "name it: `--engine FILE`" in capsys.readouterr().err


def raising(graph: onnx.GraphProto, row: list[onnx.NodeProto], **constants: Any) -> None:
    """A table of one row in which `row` (1,) is looked up: any other than the first is an error of ONNX Runtime."""
    nodes = [
        *row,
        helper.make_node("Gather", ["table", "row"], ["ones"], axis=0),
        helper.make_node("Mul", ["honest", "ones"], ["z"]),
    ]
    after(graph, nodes, table=np.ones((1, 1), np.float32), **constants)


def at_batch_one(graph: onnx.GraphProto) -> None:
    """Raises for one sample."""
    row = [
        helper.make_node("Shape", ["x"], ["n"], end=1),
        helper.make_node("Equal", ["n", "one"], ["alone"]),
        helper.make_node("Cast", ["alone"], ["row"], to=onnx.TensorProto.INT64),
    ]
    raising(graph, row, one=np.array([1], np.int64))


def at_bright_corners(graph: onnx.GraphProto, limit: float = 0.75) -> None:
    """Raises for a batch in which the first value of a sample is bright."""
    row = [
        helper.make_node("Slice", ["x", "from", "to", "axes"], ["corner"]),
        helper.make_node("ReduceMax", ["corner"], ["brightest"], keepdims=0),
        helper.make_node("Greater", ["brightest", "limit"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["number"], to=onnx.TensorProto.INT64),
        helper.make_node("Reshape", ["number", "flat"], ["row"]),
    ]
    places = {"from": np.zeros(3, np.int64), "to": np.ones(3, np.int64), "axes": np.array([1, 2, 3], np.int64)}
    raising(graph, row, limit=np.array(limit, np.float32), flat=np.array([1], np.int64), **places)


def frozen_batch(graph: onnx.GraphProto) -> None:
    """A free batch axis, and a reshape to one sample inside."""
    after(graph, [helper.make_node("Reshape", ["honest", "frozen"], ["z"])], frozen=np.array([1, DIM], np.int64))


@pytest.mark.parametrize(
    ("edit", "renamed"),
    [(at_batch_one, False), (at_batch_one, True), (at_bright_corners, False), (frozen_batch, False)],
    ids=["batch one", "batch one, other names", "bright corners", "frozen batch"],
)
def test_an_engine_that_raises_has_failed(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Edit, renamed: bool
) -> None:
    engine = tmp_path / "other.onnx"
    engine.write_bytes(edited(edit))
    assert run(bundle, foreign(engine, edited(edit)) if renamed else engine, *(HOW if renamed else ())) == 1
    captured = capsys.readouterr()
    assert "FAIL  check runs: " in captured.out
    document = report(bundle)
    raised = document["measured"]["raised"]
    assert raised["calls"] > 0
    assert raised["shape"][1:] == list(SHAPE)
    assert (raised["shape"][0] == 1) is (edit is at_batch_one)
    assert "`other.onnx`" in raised["message"]
    assert str(tmp_path) not in json.dumps(document)
    check = next(check for check in document["derived"]["checks"] if check["name"] == "runs")
    assert (check["status"], check["measured"]) == ("fail", raised["calls"])
    assert raised["message"] in check["why"]


def test_rows_that_do_not_raise_keep_their_embeddings(bundle: Bundle, tmp_path: Path) -> None:
    engine = tmp_path / "other.onnx"
    engine.write_bytes(edited(at_bright_corners))
    assert run(bundle, engine) == 1
    measured = report(bundle)["measured"]
    x = bundle.probe(FEW).x
    bright = x[:, 0, 0, 0] > 0.75
    assert 0 < bright.sum() < FEW / 2
    assert measured["expectation"] == 1  # the same rows raise each time: it repeats itself
    reference, found = (np.array(measured["clean"][side]) for side in ("reference", "engine"))
    assert (found[bright] > 0).all()
    assert (found == reference)[~bright].all()


def test_shards_count_what_one_run_counts(bundle: Bundle, tmp_path: Path) -> None:
    engine = tmp_path / "other.onnx"
    engine.write_bytes(edited(at_bright_corners))
    options = VerifyOptions(engine=str(engine), reference="onnx", sources="none", samples=80)
    (whole,) = verify(bundle, options)
    for part in (2, 1):
        verify_shard(bundle, Shard.parse(f"{part}/2"), options, state=tmp_path / "state")
    (merged,) = merge_shards(Bundle.open(bundle.path), state=tmp_path / "state")
    assert merged.measured["raised"] == whole.measured["raised"]
    assert merged.verdict == "fail"


def test_an_engine_that_never_runs_is_no_result(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / "other.onnx"
    engine.write_bytes(edited(lambda graph: at_bright_corners(graph, -1.0)))
    assert run(bundle, engine) == 2
    assert "failed on x (32, 3, 8, 8)" in capsys.readouterr().err.replace("\n", " ")
    assert not list(bundle.path.glob("reports/*"))
