"""The whole calibration: what it changes and what it must not, the same bits each time, and the bundle it leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from small_encoder import ConfigMaker, Small, make_centers

from advcal_edge.anchor import ANCHOR, AnchorFile, distances
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.deploy import module_from_bundle
from advcal_edge.calibrate.evaluate import ResultTable, Row, measure
from advcal_edge.calibrate.run import Watch, calibrate
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.columns import COLUMNS
from advcal_edge.consent import Consent
from advcal_edge.errors import BundleError, BundleInUseError, ConfigError, InputError
from advcal_edge.manifest import MANIFEST
from advcal_edge.probe import Probe
from advcal_edge.progress import silent
from advcal_edge.spec import thermal
from advcal_edge.threat import ThreatModel

NAMED = Consent(encoder="small")


def adapter_bytes(bundle: Bundle) -> bytes:
    return bundle.file("adapter.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["identity", "head", "lora", "head+lora"])
@pytest.mark.parametrize("threat", ["static", "adaptive"])
def test_every_kind(kind: str, threat: str, make_config: ConfigMaker) -> None:
    config = make_config(adapter={"kind": kind}, craft={"kind": threat})
    result = calibrate(config)
    bundle = Bundle.open(Path(config.out))
    assert tuple(result.table.after.ranks) == COLUMNS
    assert (result.trainable_fraction == 0) == (kind == "identity")
    probe = bundle.probe().head(30)
    found = bundle.centers().predict(TorchRunner(module_from_bundle(bundle, NAMED), bundle.modality.input)(probe.x))
    np.testing.assert_array_equal(found == probe.y, result.table.after.right("clean"))
    json.dumps(result.to_json(), allow_nan=False)
    assert not Path(f"{config.out}.partial").exists()
    if kind == "identity":
        for column in COLUMNS:
            np.testing.assert_array_equal(result.table.after.right(column), result.table.before.right(column))


@pytest.mark.parametrize("objective", ["ce", "l2"])
def test_a_static_head_recovers_static_accuracy(objective: str, make_config: ConfigMaker) -> None:
    config = make_config(
        adapter={"kind": "head"},
        objective={"attacked": objective, "clean": "half"},
        craft={"kind": "static", "static_steps": 10},
    )
    table = calibrate(config).table
    assert table.after.accuracy("static") > table.before.accuracy("static")


def test_adaptive_lora_gains(make_config: ConfigMaker) -> None:
    table = calibrate(make_config(train={"epochs": 15})).table
    assert table.after.accuracy("pgd") > table.before.accuracy("pgd")


def test_manifest(make_config: ConfigMaker) -> None:
    config = make_config()
    manifest = calibrate(config).bundle.manifest
    encoder = sum(value.numel() for value in Small.load("thermal").module().parameters())
    assert manifest["encoder"]["weights_sha256"] == Small.load("thermal").fingerprint
    assert manifest["adapter"]["trainable_fraction"] == manifest["adapter"]["parameters"] / encoder
    assert manifest["data"] | {"train_sha256": "", "held_out_sha256": ""} == {
        "source": config.data.path, "license": "NOASSERTION", "skipped": 0, "partner": None, "train": 48,
        "held_out": 30, "calibration": 48, "train_sha256": "", "held_out_sha256": "",
    }  # fmt: skip
    assert manifest["config"]["threat"] == {"norm": "linf", "eps": 0.03}
    assert set(manifest) >= {"tool", "modality", "threat", "centers", "seed", "metrics", "environment", "files"}
    tensors = {"adapter.safetensors", "centers.safetensors"}
    assert set(manifest["files"]) == {*tensors, "probe.npz", ANCHOR, "calibration.npz"}


def test_the_anchor_is_what_the_calibrated_model_makes_of_the_whole_probe(make_config: ConfigMaker) -> None:
    """And its labels are those of the clean figure, on the samples that the evaluation saw."""
    bundle = calibrate(make_config(evaluate={"samples": 20, "steps": 2, "queries": 5})).bundle
    probe, centers = bundle.probe(), bundle.centers()
    stored = np.concatenate(list(AnchorFile.open(bundle, len(probe), centers.dim).blocks(7, len(probe))))
    with torch.no_grad():
        z = module_from_bundle(bundle)(torch.from_numpy(probe.x)).numpy()
    assert stored.shape == (30, centers.dim)
    assert distances(z, stored).max() < 1e-6
    clean = bundle.manifest["metrics"]["after"]["clean"]
    assert (clean["n"], clean["correct"]) == (20, int((centers.predict(stored[:20]) == probe.y[:20]).sum()))


def test_the_same_seed_gives_the_same_bytes(make_config: ConfigMaker) -> None:
    first = adapter_bytes(calibrate(make_config()).bundle)
    torch.rand(3)  # the global stream plays no part
    assert adapter_bytes(calibrate(make_config()).bundle) == first
    assert adapter_bytes(calibrate(make_config(seed=1)).bundle) != first


class Interrupt:
    """Ctrl-C when training is halfway."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage == "calibrate" and done > total // 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "sections",
    [{}, {"adapter": {"kind": "head"}, "craft": {"kind": "static"}}, {"craft": {"kind": "static"}}],
    ids=["adaptive lora", "static head", "static lora"],
)
def test_resumed_equals_uninterrupted(sections: dict[str, Any], make_config: ConfigMaker) -> None:
    config = make_config(**sections)
    whole = adapter_bytes(calibrate(config).bundle)
    with pytest.raises(KeyboardInterrupt):
        calibrate(config, Watch(Interrupt()))
    assert adapter_bytes(Bundle.open(Path(config.out))) == whole  # the old bundle is untouched meanwhile
    state = Path(f"{config.out}.partial/state.safetensors")
    with safe_open(state, framework="pt") as file:
        assert 0 < int(file.metadata()["epoch"]) < 20
    assert adapter_bytes(calibrate(config, resume=True).bundle) == whole
    assert not state.parent.exists()


def test_resume_refuses_other_settings(make_config: ConfigMaker) -> None:
    with pytest.raises(KeyboardInterrupt):
        calibrate(make_config(), Watch(Interrupt()))
    with pytest.raises(ConfigError, match=r"`threat\.eps` was 0\.03, is 0\.1"):
        calibrate(make_config(threat={"eps": 0.1}), resume=True)
    calibrate(make_config(evaluate={"samples": 5}), resume=True)  # figures may be asked for differently


def test_resume_needs_a_whole_state(make_config: ConfigMaker) -> None:
    config = make_config()
    with pytest.raises(ConfigError, match="nothing to resume"):
        calibrate(config, resume=True)
    state = Path(f"{config.out}.partial/state.safetensors")
    state.parent.mkdir()
    state.write_bytes(b"half")
    with pytest.raises(BundleError, match="is damaged"):
        calibrate(config, resume=True)


def test_other_weights_are_refused(make_config: ConfigMaker) -> None:
    bundle = calibrate(make_config()).bundle
    section = {**bundle.section("encoder"), "weights_sha256": "0" * 64}
    with pytest.raises(BundleError, match="was calibrated on 000000000000"):
        module_from_bundle(bundle.add({}, encoder=section), NAMED)


def test_changed_adapter_is_refused(make_config: ConfigMaker) -> None:
    bundle = calibrate(make_config()).bundle
    path = bundle.path / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BundleError, match="changed or truncated"):
        module_from_bundle(bundle, NAMED)


def test_occupied_destination(make_config: ConfigMaker) -> None:
    config = make_config()
    Path(config.out).mkdir()
    (Path(config.out) / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="holds other files"):
        calibrate(config)


def test_one_calibration_at_a_time(make_config: ConfigMaker, tmp_path: Path) -> None:
    config = make_config()
    refused: list[BundleInUseError] = []

    def second(stage: str, done: int, total: int) -> None:
        if stage == "calibrate" and not refused:
            with pytest.raises(
                BundleInUseError, match=rf"`{config.out}\.partial` is being written by process"
            ) as caught:
                calibrate(config)
            refused.append(caught.value)

    calibrate(config, Watch(second))
    assert refused
    assert sorted(path.name for path in tmp_path.iterdir()) == ["B", "data"]


def test_what_killed_commands_left_is_in_nobodys_way(make_config: ConfigMaker, tmp_path: Path) -> None:
    config = make_config()
    bundle = calibrate(config).bundle
    for name in (
        "B/.staging.abcdefgh.advcal/a.onnx",
        "B/.manifest.json.abcdefgh.advcal",
        ".B.new.abcdefgh.advcal/new/a",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "B.partial").mkdir()
    (tmp_path / "B.partial" / ".state.safetensors.abcdefgh.advcal").write_bytes(b"half")
    calibrate(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["B", "data"]
    assert {path.name for path in bundle.path.iterdir()} == {MANIFEST, *bundle.manifest["files"]}


def test_encoder_without_samples(make_config: ConfigMaker) -> None:
    config = make_config()
    bare = CalibrateConfig(modality="thermal", encoder="small", out=config.out)
    with pytest.raises(ConfigError, match="brings no samples"):
        calibrate(bare)


def test_a_class_too_few(make_config: ConfigMaker) -> None:
    config = make_config()
    assert config.data.path
    for file in sorted((Path(config.data.path) / "dog").iterdir())[1:]:
        file.unlink()
    with pytest.raises(InputError, match="`dog`"):
        calibrate(config)


def test_table_counts_sample_by_sample() -> None:
    clean, square = np.array([True, True, True, False]), np.array([True, False, True, False])
    row = Row("after", {"clean": np.where(clean, 0, 7), "square": np.where(square, 0, 3)}, classes=8, recall={})
    assert row.accuracy("square") == 0.5
    low, high = row.interval("square").to_json()
    assert 0 < low < 0.5 < high < 1
    assert row.to_json()["square"]["correct"] == 2
    assert row.to_json()["square"]["top5"]["hits"] == 4
    assert row.to_json()["clean"]["top5"]["hits"] == 3
    assert "top5" not in replace(row, classes=5).to_json()["clean"]


def test_nothing_right_to_begin_with(make_config: ConfigMaker) -> None:
    """A hopeless encoder gives a table of zeros and no crash."""
    config = make_config(adapter={"kind": "identity"})
    runner = TorchRunner(AdaptedModule(Small.load("thermal").module()), thermal(8).input)
    probe = Probe(np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, np.int64))
    wrong = int(make_centers().predict(runner(probe.x))[0])
    probe = Probe(probe.x, np.full(4, (wrong + 1) % 3))
    threat = ThreatModel("linf", 0.0, (0.0, 1.0))
    table = measure(runner, runner, make_centers(), probe, threat, config.evaluate, seed=0, progress=silent)
    assert {table.after.accuracy(column) for column in COLUMNS} == {0.0}


def test_worst_case_is_below_every_column(make_config: ConfigMaker) -> None:
    table: ResultTable = calibrate(make_config()).table
    for row in (table.before, table.after):
        worst = np.logical_and.reduce([row.right(column) for column in COLUMNS[:-1]])
        np.testing.assert_array_equal(row.right("worst"), worst)
        assert all((row.right(column) <= row.right("clean")).all() for column in COLUMNS)
