"""`export --triton`: what is written, that it is whole, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from host_trt import host_metadata
from hypothesis import given, strategies as st
from model_config import parameters, read_config
from tiny import DIM, BundleMaker, Linear

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import AdvcalError, BundleError, ConfigError, EngineError
from advcal_edge.expectations import Expectations, selftest_name
from advcal_edge.export.triton import repository
from advcal_edge.export.triton.repository import write_repository
from advcal_edge.export.triton.text_format import quote, write_message
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.engine_file import graph_digest
from advcal_edge.runtime.raw_inputs import RAW_INPUTS
from advcal_edge.runtime.selftest import place_of
from advcal_edge.runtime.sensors.sensor import SENSORS
from advcal_edge.spec import audio, thermal

PROFILES = {"x": ((1, 1, 8, 8), (4, 1, 8, 8), (16, 1, 8, 8))}


def config_of(folder: Path, model: str) -> dict[str, list[Any]]:
    return read_config((folder / model / "config.pbtxt").read_text())


def add_plan(bundle: Bundle, **changes: Any) -> str:
    """Bytes named a plan, and metadata: a plan is opened on its device alone, so nothing here looks into it."""
    plan = b"plan"
    card = host_metadata(plan, b"", **{"profiles": PROFILES, **changes})
    bundle.add({"engines/sm87.plan": plan, "engines/sm87.json": json.dumps(card.to_json()).encode()})
    return "engines/sm87.plan"


@given(st.text())
def test_any_text_stays_one_string(text: str) -> None:
    assert read_config(write_message({"name": text, "after": 1})) == {"name": [text], "after": [1]}


def test_quotes_newlines_and_digits_after_an_escape() -> None:
    assert quote('a"b\\c\n1é') == '"a\\042b\\134c\\0121\\303\\251"'


def test_every_sensor_has_its_inputs() -> None:
    assert RAW_INPUTS.keys() == SENSORS.keys()


def test_a_graph_is_served_by_onnxruntime_and_by_the_embedder(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle(precisions=("fp32", "int8"), verdicts={"int8": "pass"})
    written = write_repository(bundle, tmp_path / "R")
    engine, embedder = (config_of(tmp_path / "R", f"thermal_{kind}") for kind in ("engine", "embedder"))
    assert (engine["backend"], embedder["backend"]) == (["onnxruntime"], ["python"])
    assert engine["input"] == [{"name": ["x"], "data_type": ["TYPE_FP32"], "dims": [1, 8, 8]}]
    assert engine["output"] == [{"name": ["z"], "data_type": ["TYPE_FP32"], "dims": [DIM]}]
    assert engine["max_batch_size"] == embedder["max_batch_size"] == [32]
    assert engine["dynamic_batching"][0]["preferred_batch_size"] == [8, 32]
    assert "dynamic_batching" not in embedder
    assert [item["batch_size"] for item in engine["model_warmup"]] == [[1], [8], [32]]
    assert engine["instance_group"] == [{"kind": ["KIND_CPU"], "count": [1]}]
    assert engine["version_policy"] == [{"specific": [{"versions": [1]}]}]
    assert [(item["name"], item["data_type"]) for item in embedder["input"]] == [
        (["frame_uint8"], ["TYPE_UINT8"]),
        (["frame_uint16"], ["TYPE_UINT16"]),
        (["frame_int16"], ["TYPE_INT16"]),
        (["frame_float32"], ["TYPE_FP32"]),
    ]
    assert all(item["optional"] == ["true"] for item in embedder["input"])
    assert [(item["name"], item["data_type"], item["dims"]) for item in embedder["output"]] == [
        (["embedding"], ["TYPE_FP32"], [DIM]),
        (["labels"], ["TYPE_STRING"], [3]),
        (["scores"], ["TYPE_FP64"], [3]),
        (["sure"], ["TYPE_BOOL"], [1]),
    ]
    stated = parameters(engine)
    assert stated == written.served.parameters
    assert parameters(embedder) == {**stated, "advcal_edge.accept_retested": "false"}
    file = tmp_path / "R/thermal_engine/1" / engine["default_model_filename"][0]
    assert stated["advcal_edge.sha256"] == graph_digest(file) == graph_digest(bundle.path / "onnx/forward.int8.onnx")
    assert stated["advcal_edge.bundle"] == bundle.identity()
    assert (stated["advcal_edge.verdict"], stated["advcal_edge.verified_on"]) == ("pass", "CPUExecutionProvider")
    assert oct((tmp_path / "R").stat().st_mode & 0o777) == "0o755"
    assert {path.name for path in tmp_path.iterdir()} == {"B", "R"}


def test_the_part_of_the_bundle_runs_alone(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle(precisions=("fp32", "int8"), verdicts={"int8": "pass"})
    whole = Embedder.load(bundle.path, "int8")
    write_repository(bundle, tmp_path / "R", "int8")
    x = bundle.probe().x
    bundle.path.rename(tmp_path / "elsewhere")
    part = Embedder.load(tmp_path / "R/thermal_embedder/1/bundle", "int8", require_verified=True)
    assert part(x).tobytes() == whole(x).tobytes()
    listed = {p.relative_to(tmp_path / "R/thermal_embedder/1/bundle").as_posix() for p in tmp_path.rglob("bundle/**/*")}
    assert "probe.npz" not in listed


def test_the_self_test_of_the_engine_travels_along(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle(precisions=("fp32", "int8"), verdicts={"fp32": "pass", "int8": "pass"})
    for precision in ("fp32", "int8"):
        embedder, x = Embedder.load(bundle.path, precision), bundle.probe().x
        z, sha256 = embedder(x), embedder.runner.sha256
        y, place = embedder.centers.predict(z), place_of(embedder.fingerprint)
        stored = Expectations(x, y, np.arange(len(x)) % 3, z, z, sha256, place)
        bundle = bundle.add({selftest_name(sha256): stored.to_bytes()})
    write_repository(bundle, tmp_path / "R", "int8")
    part = tmp_path / "R/thermal_embedder/1/bundle"
    (travelled,) = part.glob("reports/*/selftest.npz")
    assert travelled.read_bytes() == (bundle.path / travelled.relative_to(part)).read_bytes()
    found = Embedder.load(part, "int8", require_verified=True, selftest=True).selftest
    assert found is not None
    assert found.status == "verified"


def test_recordings_come_with_their_rate(make_bundle: BundleMaker, tmp_path: Path) -> None:
    write_repository(make_bundle(Linear.random(audio(8, 40))), tmp_path / "R")
    embedder = config_of(tmp_path / "R", "audio_embedder")
    assert [item["name"][0] for item in embedder["input"]] == ["frame_int16", "frame_float32", "rate"]
    assert parameters(embedder)["advcal_edge.verdict"] == "none"


def test_weights_in_other_files_travel_along(make_bundle: BundleMaker, tmp_path: Path) -> None:
    linear = Linear.random(thermal(8))
    bundle = make_bundle(linear)
    model = onnx.load_from_string(linear.forward())
    onnx.save_model(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="weights of mine.bin", size_threshold=64
    )
    graph, weights = (tmp_path / "m.onnx").read_bytes(), (tmp_path / "weights of mine.bin").read_bytes()
    bundle = bundle.add({"onnx/forward.fp32.onnx": graph, "onnx/weights of mine.bin": weights})
    write_repository(bundle, tmp_path / "R")
    engine = tmp_path / "R/thermal_engine/1"
    assert (engine / "weights of mine.bin").read_bytes() == weights
    stated = parameters(config_of(tmp_path / "R", "thermal_engine"))["advcal_edge.sha256"]
    assert stated == graph_digest(engine / "forward.fp32.onnx")
    part = tmp_path / "R/thermal_embedder/1/bundle"
    x = bundle.probe().x
    np.testing.assert_array_equal(Embedder.load(part)(x), Embedder.load(bundle.path)(x))


def test_a_plan_is_served_in_the_batches_of_its_profile(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle()
    name = add_plan(bundle)
    write_repository(Bundle.open(bundle.path), tmp_path / "R", name)
    engine = config_of(tmp_path / "R", "thermal_engine")
    assert (engine["backend"], engine["max_batch_size"]) == (["tensorrt"], [16])
    assert engine["default_model_filename"] == ["sm87.plan"]
    assert engine["dynamic_batching"][0]["preferred_batch_size"] == [4, 16]
    assert engine["instance_group"][0]["kind"] == ["KIND_GPU"]
    assert [item["batch_size"] for item in engine["model_warmup"]] == [[1], [4], [16]]
    part = tmp_path / "R/thermal_embedder/1/bundle/engines"
    assert sorted(path.name for path in part.iterdir()) == ["sm87.json", "sm87.plan"]


def test_a_plan_for_one_frame_shares_no_batches(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle()
    add_plan(bundle, profiles={"x": ((1, 1, 8, 8),) * 3})
    write_repository(Bundle.open(bundle.path), tmp_path / "R", "engines/sm87.plan")
    engine = config_of(tmp_path / "R", "thermal_engine")
    assert engine["max_batch_size"] == [1]
    assert "dynamic_batching" not in engine


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"product": "tensorrt_rtx"}, "was built by TensorRT-RTX"),
        ({"version_compatible": True}, "holds code that runs when it is loaded"),
        ({"kind": "vjp"}, "is the backward pass"),
        ({"profiles": {}}, "no profile of the input `x`"),
        ({"profiles": {"x": ((2, 1, 8, 8), (4, 1, 8, 8), (16, 1, 8, 8))}}, "takes batches of 2 to 16"),
    ],
)
def test_plans_that_triton_cannot_serve(
    make_bundle: BundleMaker, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    bundle = make_bundle()
    add_plan(bundle, **changes)
    with pytest.raises(EngineError, match=words) as caught:
        write_repository(Bundle.open(bundle.path), tmp_path / "R", "engines/sm87.plan")
    assert caught.value.hint
    assert not (tmp_path / "R").exists()


def test_engines_that_are_not_the_bundle_s_or_need_a_bridge(make_bundle: BundleMaker, tmp_path: Path) -> None:
    linear = Linear.random(thermal(8))
    bundle = make_bundle(linear)
    (tmp_path / "other.onnx").write_bytes(linear.forward("fp16"))
    with pytest.raises(EngineError, match="is no file of"):
        write_repository(bundle, tmp_path / "R", str(tmp_path / "other.onnx"))
    fixed = bundle.add({"onnx/forward.fixed.onnx": linear.forward(shape=(1, 1, 8, 8))})
    with pytest.raises(EngineError, match="as declared"):
        write_repository(fixed, tmp_path / "R", "onnx/forward.fixed.onnx")


def test_nothing_is_replaced_and_nothing_half_written_stays(
    make_bundle: BundleMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, full = make_bundle(), tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("kept")
    refused = {full: "is not empty", full / "mine": "is a file or a link", bundle.path / "R": "inside the bundle"}
    for folder, words in refused.items():
        with pytest.raises(ConfigError, match=words):
            write_repository(bundle, folder)
    assert (full / "mine").read_text() == "kept"
    (tmp_path / "empty").mkdir()
    write_repository(bundle, tmp_path / "empty")

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(repository, "write_embedder", fail)  # the disk is full after the first model
    with pytest.raises(BundleError, match="No space left"):
        write_repository(bundle, tmp_path / "R")
    assert sorted(tmp_path.iterdir()) == before


def test_a_changed_file_is_not_copied(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle()
    graph = bundle.path / "onnx/forward.fp32.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(AdvcalError, match="was changed or truncated"):
        write_repository(bundle, tmp_path / "R")
    assert not (tmp_path / "R").exists()


def test_the_command_prints_what_serves_it(
    make_bundle: BundleMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, folder = make_bundle(), tmp_path / "my models"
    assert main(["export", str(bundle.path), "--triton", str(folder), "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["command"] in captured.err
    assert f"tritonserver --model-repository '{folder}' --http-address 127.0.0.1" in document["command"]
    assert document["models"] == {"engine": "thermal_engine", "embedder": "thermal_embedder"}
    assert sorted(document["files"]) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    assert document["verified"] is False
    assert "not verified: the configurations say so" in captured.err
    assert main(["export", str(bundle.path), "--triton", str(folder)]) == 2
    assert f"rm -r '{folder}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--triton", "R", "--precision", "int8", "--trt"], "`--triton` and `--precision`, `--trt` exclude each other"),
        (["--triton", "R", "--until-parity"], "`--triton` and `--until-parity` exclude each other"),
        (["--triton", "R", "--opset", "18"], "`--triton` and `--opset` exclude each other"),
        (["--engine", "int8"], "`--engine int8` without `--triton`"),
    ],
)
def test_options_that_would_make_engines_are_refused(
    make_bundle: BundleMaker, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(make_bundle().path), *words]) == 2
    assert said in capsys.readouterr().err
