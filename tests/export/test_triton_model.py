"""The `model.py` of a repository, run on a stand-in for the server's module; `test_triton_server.py` has the server."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from model_config import parameters, read_config
from numpy.typing import NDArray
from replayed import stored_for
from ruled import plain_bundle, put, report_on
from tiny import BundleMaker, Linear, write_bundle

from advcal_edge.export.triton.repository import write_repository
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.sensors import Recording
from advcal_edge.spec import audio, image, thermal


class ModelError(Exception):
    """Raised where the server would not serve the model."""


class Tensor:
    """An input or output."""

    def __init__(self, name: str, array: NDArray[Any]) -> None:
        self.name, self.array = name, array

    def as_numpy(self) -> NDArray[Any]:
        return self.array


def response(outputs: list[Tensor] | None = None, error: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(outputs={tensor.name: tensor.array for tensor in outputs or []}, error=error)


Load = Callable[[Path, str], Any]


@pytest.fixture
def log() -> list[str]:
    """What the model told the server's log."""
    return []


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> Load:
    """Does what the server does with the model of a repository: runs its `model.py` and hands it its configuration."""
    backend = SimpleNamespace(
        Tensor=Tensor,
        InferenceResponse=response,
        TritonError=str,
        TritonModelException=ModelError,
        Logger=SimpleNamespace(log_info=log.append, log_warn=log.append),
        get_input_tensor_by_name=lambda request, name: request.get(name),
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)

    def start(repository: Path, name: str) -> Any:
        folder = repository / name
        spec = importlib.util.spec_from_file_location("served_model", folder / "1/model.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        stated = parameters(read_config((folder / "config.pbtxt").read_text()))
        config = {"parameters": {key: {"string_value": value} for key, value in stated.items()}}
        model = module.TritonPythonModel()
        model.initialize({"model_config": json.dumps(config), "model_repository": str(folder), "model_version": "1"})
        return model

    return start


def request(**arrays: NDArray[Any]) -> dict[str, Tensor]:
    return {name: Tensor(name, array) for name, array in arrays.items()}


def test_each_request_is_a_direct_call(make_bundle: BundleMaker, tmp_path: Path, load: Load) -> None:
    bundle = make_bundle(Linear.random(image(8)))
    write_repository(bundle, tmp_path / "R")
    embedder, rng = Embedder.load(bundle.path), np.random.default_rng(0)
    model = load(tmp_path / "R", "image_embedder")
    one, two = rng.integers(0, 256, (1, 20, 31, 3), np.uint8), rng.integers(0, 256, (2, 9, 8, 3), np.uint8)
    strip = rng.integers(0, 256, (1, 8, 8, 2), np.uint8)
    answers = model.execute([request(frame_uint8=frames) for frames in (one, strip, two)])
    assert [answer.error is None for answer in answers] == [True, False, True]
    assert "frame 0 is uint8 (8, 8, 2); expected uint8 or uint16 RGB" in answers[1].error
    for frames, answer in ((one, answers[0]), (two, answers[2])):
        z = embedder.embed_frames(list(frames))
        matches = embedder.match(z)
        assert answer.outputs["embedding"].tobytes() == z.tobytes()
        assert answer.outputs["labels"].tolist() == [[m.label.encode() for m in row] for row in matches]
        assert answer.outputs["scores"].tolist() == [[m.score for m in row] for row in matches]
        assert answer.outputs["sure"].tolist() == [[False]] * len(frames), "there is no rule"


def test_requests_without_one_frame_are_refused(make_bundle: BundleMaker, tmp_path: Path, load: Load) -> None:
    write_repository(make_bundle(), tmp_path / "R")
    model, frame = load(tmp_path / "R", "thermal_embedder"), np.full((1, 8, 8), 29500, np.uint16)
    none, both, empty = model.execute(
        [
            request(),
            request(frame_uint16=frame, frame_float32=frame.astype(np.float32)),
            request(frame_uint16=frame[:0]),
        ]
    )
    assert "the request holds no frame; expected exactly one of `frame_uint8`" in none.error
    assert "`frame_uint16` and `frame_float32`; expected exactly one" in both.error
    assert "holds no frame; expected one or more" in empty.error


def test_recordings_with_their_rates(make_bundle: BundleMaker, tmp_path: Path, load: Load) -> None:
    bundle = make_bundle(Linear.random(audio(8, 40)))
    write_repository(bundle, tmp_path / "R")
    model = load(tmp_path / "R", "audio_embedder")
    sound = np.random.default_rng(0).integers(-9000, 9000, (2, 1, 16000), np.int16)
    rates = np.array([[16000.0], [8000.0]])
    good, fewer, without = model.execute(
        [
            request(frame_int16=sound, rate=rates),
            request(frame_int16=sound, rate=rates[:1]),
            request(frame_int16=sound),
        ]
    )
    z = Embedder.load(bundle.path).embed_frames([Recording(sound[0], 16000.0), Recording(sound[1], 8000.0)])
    assert good.outputs["embedding"].tobytes() == z.tobytes()
    assert "`rate` holds 1 rates for 2 recordings" in fewer.error
    assert "expected a rate of 4000 to 384000 Hz" in without.error


def test_what_the_configuration_does_not_state_is_not_served(
    make_bundle: BundleMaker, tmp_path: Path, load: Load
) -> None:
    bundle = make_bundle(precisions=("fp32",), verdicts={"fp32": "pass"})
    written = write_repository(bundle, tmp_path / "R")
    config = tmp_path / "R/thermal_embedder/config.pbtxt"
    text, part = config.read_text(), config.parent / "1/bundle"
    load(tmp_path / "R", "thermal_embedder")

    config.write_text(text.replace(written.served.file.sha256, "0" * 64))
    with pytest.raises(ModelError, match="the configuration was written for 000000000000"):
        load(tmp_path / "R", "thermal_embedder")
    config.write_text(text)

    report = next(part.rglob("report.json"))
    kept = report.read_bytes()
    report.write_bytes(kept.replace(b'"pass"', b'"fail"'))
    with pytest.raises(ModelError, match="was changed or truncated"):
        load(tmp_path / "R", "thermal_embedder")
    report.write_bytes(kept)

    other = write_bundle(tmp_path / "other", Linear.random(thermal(8), seed=1), ("fp32",), {})
    write_repository(other, tmp_path / "S")
    part.rename(tmp_path / "away")
    (tmp_path / "S/thermal_embedder/1/bundle").rename(part)
    with pytest.raises(ModelError, match="the configuration was written for"):
        load(tmp_path / "R", "thermal_embedder")


def test_an_answer_says_whether_it_is_sure_by_the_rule_that_is_stated(tmp_path: Path, load: Load) -> None:
    plain = plain_bundle(tmp_path / "B")
    bundle = put(plain, report_on(plain))
    write_repository(bundle, tmp_path / "R")
    config = tmp_path / "R/thermal_embedder/config.pbtxt"
    rule = json.loads(parameters(read_config(config.read_text()))["advcal_edge.abstention"])
    embedder = Embedder.load(bundle.path)
    assert embedder.rule is not None
    assert rule == {"threshold": embedder.rule.threshold, "alpha": 0.05}
    frames = np.random.default_rng(0).integers(28000, 31000, (64, 8, 8), np.uint16)
    model = load(tmp_path / "R", "thermal_embedder")
    answer = model.execute([request(frame_uint16=frames)])[0].outputs
    lead = embedder.centers.margins(answer["embedding"])
    assert answer["sure"].dtype == np.bool_
    assert answer["sure"].tolist() == [[bool(margin > rule["threshold"])] for margin in lead]
    assert {flag for (flag,) in answer["sure"].tolist()} == {True, False}

    config.write_text(config.read_text().replace(str(rule["threshold"]), "0.01"))
    with pytest.raises(ModelError, match=r"`abstention` of .* the configuration was written for"):
        load(tmp_path / "R", "thermal_embedder")


def test_a_passing_report_without_a_rule_makes_nothing_sure(tmp_path: Path, load: Load) -> None:
    plain = plain_bundle(tmp_path / "B")
    written = write_repository(put(plain, report_on(plain, doubt=1.0)), tmp_path / "R")
    stated = written.served.parameters
    assert (stated["advcal_edge.verdict"], stated["advcal_edge.abstention"]) == ("pass", "none")
    frames = np.random.default_rng(0).integers(28000, 31000, (64, 8, 8), np.uint16)
    answer = load(tmp_path / "R", "thermal_embedder").execute([request(frame_uint16=frames)])[0].outputs
    assert not answer["sure"].any()


def test_a_stored_self_test_runs_before_the_first_answer(
    make_bundle: BundleMaker, tmp_path: Path, load: Load, log: list[str]
) -> None:
    bundle = make_bundle(verdicts={"fp32": "pass"})
    write_repository(bundle, tmp_path / "none")
    write_repository(stored_for(bundle), tmp_path / "good")
    write_repository(stored_for(bundle, turned=0.1), tmp_path / "moved")
    load(tmp_path / "none", "thermal_embedder")
    load(tmp_path / "good", "thermal_embedder")
    assert log[0].split("  ")[1:] == ["verified", "no self-test stored"]
    assert log[1].split("  ")[2].startswith("self-test verified, ")
    with pytest.raises(ModelError, match="fails its self-test: batch 1: 12 of 12 embeddings moved"):
        load(tmp_path / "moved", "thermal_embedder")


def test_an_engine_that_is_only_retested_is_served_where_that_is_accepted_and_never_sure(
    tmp_path: Path, load: Load, log: list[str]
) -> None:
    plain = plain_bundle(tmp_path / "B")
    bundle = stored_for(put(plain, report_on(plain)), place={"runs on": "onnxruntime 1.0.0"})
    write_repository(bundle, tmp_path / "R")
    with pytest.raises(ModelError, match=r"only retested here, not verified: .*accept_retested` of the configuration"):
        load(tmp_path / "R", "thermal_embedder")
    config = tmp_path / "R/thermal_embedder/config.pbtxt"
    config.write_text(config.read_text().replace('string_value: "false"', 'string_value: "true"'))
    model = load(tmp_path / "R", "thermal_embedder")
    assert "not verified  self-test retested, " in log[0]
    assert any("onnxruntime 1.0.0 when verified" in line for line in log[1:])
    frames = np.random.default_rng(0).integers(28000, 31000, (64, 8, 8), np.uint16)
    assert not model.execute([request(frame_uint16=frames)])[0].outputs["sure"].any()
