"""Opening an engine for the node: what does not fit is refused with the command, and nothing is ever built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rebuilt
from host_trt import host_gpu
from tiny import Linear, write_bundle
from verified import OTHER, add_plan, bundle_to_replay, opened, verified_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError, ConfigError, EngineError
from advcal_edge.robot import Diagnosis, Level, NodeSettings
from advcal_edge.robot.opening import open_engine
from advcal_edge.spec import thermal


def test_identity_of_what_runs(tmp_path: Path) -> None:
    found = opened(tmp_path, thermal(8))
    assert found.reservation is None
    told = json.loads(found.identity_text())
    assert told["verified"] is True
    assert told["fingerprint"] == found.embedder.fingerprint
    assert told["bundle"] == Bundle.open(tmp_path / "B").origin()[:12]
    assert told["labels"] == list(found.embedder.labels)


def test_an_engine_without_a_report_is_refused_with_the_command(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(thermal(8)), ("fp32",), {})
    with pytest.raises(EngineError, match="no passing report") as refusal:
        open_engine(NodeSettings(str(bundle.path)))
    assert f"`advcal-edge verify {bundle.path}" in Diagnosis.of_error(refusal.value).mend


def test_a_plan_for_another_card_is_refused_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = verified_bundle(tmp_path / "B", thermal(8))
    name, before = add_plan(bundle, OTHER), sorted(tmp_path.rglob("*"))
    with host_gpu(monkeypatch), pytest.raises(EngineError, match="plans do not move between devices") as refusal:
        open_engine(NodeSettings(str(bundle.path), name))
    found = Diagnosis.of_error(refusal.value)
    assert found.level == Level.ERROR
    assert found.mend == f"build it here: `advcal-edge export {bundle.path} --trt`"
    assert sorted(tmp_path.rglob("*")) == before, "something was built"


def test_auto_says_which_plan_it_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = verified_bundle(tmp_path / "B", thermal(8))
    name = add_plan(bundle, OTHER)
    with host_gpu(monkeypatch):
        found = open_engine(NodeSettings(str(bundle.path)))
    assert found.embedder.verified
    assert found.reservation is not None
    assert found.reservation.level == Level.WARN
    assert f"the plan `{name}` was built for {OTHER}" in found.reservation.reason
    assert found.reservation.mend == f"`advcal-edge export {bundle.path} --trt`"


def test_the_self_test_runs_at_start_and_is_told(tmp_path: Path) -> None:
    found = open_engine(NodeSettings(str(bundle_to_replay(tmp_path).path)))
    assert found.embedder.selftest is not None
    assert found.embedder.selftest.status == "verified"
    assert found.identity()["selftest"] == "verified"
    assert found.facts()["self-test"].startswith("verified, ")


def test_an_engine_that_fails_its_self_test_is_refused(tmp_path: Path) -> None:
    bundle = bundle_to_replay(tmp_path, honest=False)
    with pytest.raises(EngineError, match="fails its self-test"):
        open_engine(NodeSettings(str(bundle.path)))
    assert open_engine(NodeSettings(str(bundle.path), selftest=False)).embedder.selftest is None


def test_an_engine_that_was_verified_elsewhere(tmp_path: Path) -> None:
    path = str(bundle_to_replay(tmp_path, place={"runs on": "onnxruntime 1.0.0", "processor": "another"}).path)
    with pytest.raises(EngineError, match="processor: another when verified") as refusal:
        open_engine(NodeSettings(path))
    assert Diagnosis.of_error(refusal.value).mend.startswith("`--ros-args -p accept_retested:=true`, or verify here")
    for settings in (NodeSettings(path, accept_retested=True), NodeSettings(path, require_verified=False)):
        found = open_engine(settings)
        assert not found.embedder.verified
        assert found.facts()["verified"] == "no, retested"
        assert found.identity()["selftest"] == "retested"
        assert found.reservation is not None
        assert "only retested here, not verified: processor: another when verified" in found.reservation.reason


def test_a_rebuilt_plan_runs_where_retested_engines_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = rebuilt.verified_bundle(tmp_path / "B", plan=False)
    with host_gpu(monkeypatch):
        name = rebuilt.build(bundle)
        with pytest.raises(EngineError, match="no passing report"):
            open_engine(NodeSettings(str(bundle.path), name))
        found = open_engine(NodeSettings(str(bundle.path), accept_retested=True))
    assert found.embedder.runner.path == bundle.path / name
    assert found.identity()["verified"] is False
    assert found.identity()["selftest"] == "retested"
    assert found.reservation is not None
    assert found.reservation.level == Level.WARN
    assert "is only retested here, not verified: engine: `onnx/forward.fp16.onnx`" in found.reservation.reason
    assert found.reservation.mend == f"`advcal-edge verify {bundle.path} --engine {bundle.path / name}`"


def test_accepting_retested_engines_needs_the_self_test() -> None:
    with pytest.raises(ConfigError, match="accept_retested"):
        NodeSettings("B", selftest=False, accept_retested=True)


def test_a_missing_bundle_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(AdvcalError, match="nowhere"):
        open_engine(NodeSettings(str(tmp_path / "nowhere")))
