"""Estimates: passes are counted as torch counts them, and their sum is what a real calibration takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from languagebind_folder import write_folder as write_languagebind
from small_encoder import Small, make_centers, make_frames
from tiny_study import HEAD, write_study
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from advcal_edge import configure
from advcal_edge.attacks import APGD, PGD, Square
from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.calibrate.run import calibrate
from advcal_edge.calibrate.study_estimate import duration, scientific
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.calibrate.work import work_of
from advcal_edge.cli import main
from advcal_edge.encoders.bindlite import Bindlite
from advcal_edge.encoders.blank import open_blank
from advcal_edge.encoders.languagebind import Languagebind
from advcal_edge.encoders.operations import Operations, count_pass, count_training
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import MODALITIES, thermal
from advcal_edge.threat import ThreatModel

pytestmark = pytest.mark.usefixtures("one_thread")
Capture = pytest.CaptureFixture[str]
MEASURED = {"samples": 16, "steps": 4, "queries": 8}


def test_operations_of_a_linear_map() -> None:
    linear, x = nn.Linear(3, 5), torch.ones(7, 3)
    one = 2 * 7 * 3 * 5
    assert count_training(linear, list(linear.parameters()), x) == 2 * one
    assert count_pass(linear.requires_grad_(False), x) == (one, 2 * one)


@pytest.mark.parametrize("modality", MODALITIES)
def test_passes_are_counted_as_torch_counts_them(modality: str) -> None:
    blank = open_blank("bindlite", modality, None)
    module = blank.module()
    leaf = torch.empty(2, *blank.modality.input.shape, device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        z = module(leaf)
    with FlopCounterMode(display=False) as backward:
        module(leaf).backward(torch.empty_like(z))
    assert count_pass(module, leaf) == (forward.get_total_flops(), backward.get_total_flops())
    real = Bindlite.load(modality).module()
    assert sum(p.numel() for p in real.parameters()) == sum(p.numel() for p in module.parameters())
    assert count_pass(real, torch.zeros(leaf.shape)).forward == forward.get_total_flops()


def test_a_blank_has_the_size_that_its_folder_says_or_the_published_one(tmp_path: Path) -> None:
    folder = write_languagebind(tmp_path / "audio", "audio")
    blank, real = open_blank("languagebind", "audio", folder), Languagebind.load("audio", folder)
    assert (blank.modality, blank.embedding_dim) == (real.modality, real.embedding_dim)
    shapes = {name: value.shape for name, value in real.module().state_dict().items()}
    assert {name: value.shape for name, value in blank.module().state_dict().items()} == shapes
    published = open_blank("languagebind", "image", tmp_path / "not there")
    assert published.modality.input.shape == (3, 224, 224)
    millions = sum(value.numel() for value in published.module().parameters()) / 1e6
    assert millions == pytest.approx(304, abs=1)  # ViT-L/14 with its projection, as in arXiv 2103.00020


@pytest.mark.parametrize(
    "settings",
    [
        {"modality": "imu", "train": {"samples": 128, "epochs": 1, "batch": 32}},
        {"modality": "imu", "preset": "paper", "train": {"samples": 64, "cached_epochs": 9, "batch": 32}},
        {
            "modality": "imu",
            "adapter": {"kind": "prompt+lora"},
            "objective": {"attacked": "infonce", "clean": "none"},
            "train": {"samples": 64, "epochs": 1, "batch": 32, "mirror": True},
        },
    ],
    ids=["fast", "paper", "prompt"],
)
def test_an_estimate_is_what_a_calibration_takes(settings: dict[str, Any], tmp_path: Path) -> None:
    config = configure(out=str(tmp_path / "B"), evaluate=MEASURED, **settings)
    with Operations() as counted:
        calibrate(config)
    assert work_of(config).total == pytest.approx(counted.total, rel=0.15)


@dataclass
class Counting(TorchRunner):
    """Counts samples of passes forward alone, and of those with the gradient."""

    counts: list[int] = field(default_factory=lambda: [0, 0])

    def __init__(self) -> None:
        super().__init__(AdaptedModule(Small.load("thermal").module()), thermal(8).input)
        self.counts = [0, 0]

    def __call__(self, x: Any) -> Any:
        self.counts[0] += len(x)
        return super().__call__(x)

    def vjp(self, x: Any) -> Any:
        self.counts[1] += len(x)
        return super().vjp(x)


@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=3),
        PGD(steps=3, restarts=2),
        PGD(steps=3, select="last"),
        PGD(steps=3, select="last", loss="push"),
        APGD(steps=4, restarts=2),
        Square(queries=6),
    ],
    ids=repr,
)
def test_no_attack_takes_more_passes_than_it_says(attack: PGD | APGD | Square) -> None:
    frames, _ = make_frames(9, seed=5)
    runner = Counting()
    x = torch.from_numpy(preprocess(thermal(8), frames))
    y = torch.from_numpy(make_centers().predict(runner(x.numpy())))
    runner.counts = [0, 0]
    threat = ThreatModel("linf", 1e-6, (0.0, 1.0))  # nothing is fooled, so every sample goes to the end
    attack.propose(runner.attacked(make_centers()), x, y, threat, np.random.default_rng(0))
    assert tuple(runner.counts) == tuple(9 * passes for passes in attack.most_passes)


CASES = """
[[case]]
name = "street"
encoder = "imagebind"
weights = "nowhere.pth"
threat.eps = "4/255"
[[case]]
name = "own"
[[case]]
name = "lost"
encoder = "no_such_module:encoder"
[grid]
seed = [0, 1]
"""


def test_a_study_says_what_is_left_of_it(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_study(tmp_path, "speed = 2.5\n" + HEAD + CASES)
    assert main(["study", str(file), "--estimate"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:4] for line in out.splitlines()[:4]] == [
        ["case", "encoder", "modality", "cells"],
        ["street", "imagebind", "thermal", "2"],
        ["own", "small", "thermal", "2"],
        ["lost", "no_such_module:encoder", "thermal", "2"],
    ]
    assert "operations in 4 of 6 cells: " in err
    assert "at 2.5 TFLOP/s (key `speed` of the file)" in err
    assert "no estimate of 2 cells of lost no_such_module:encoder thermal: `no_such_module:encoder` cannot" in err
    assert not Path("cells").exists()
    assert main(["study", str(file), "--estimate", "--json", "--shard", "2/6"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cells"], told["unknown"], [part["names"][0] for part in told["parts"]]) == (1, 0, ["street"])
    assert told["seconds"] == pytest.approx(told["operations"] / 2.5e12)
    assert main(["study", str(file), "--estimate", "--tables"]) == 2


def test_what_is_finished_is_not_estimated(study_file: Path, capsys: Capture) -> None:
    assert main(["study", str(study_file), "--shard", "1/6"]) == 0
    capsys.readouterr()
    assert main(["study", str(study_file), "--estimate"]) == 0
    assert "operations in 5 cells" in capsys.readouterr().err
    assert main(["study", str(study_file), "--estimate", "--shard", "1/6"]) == 0
    assert "no cell is left to calibrate" in capsys.readouterr().err


@pytest.mark.parametrize("speed", ["0", "-1", '"fast"', "true", "inf"])
def test_a_speed_is_a_number_above_zero(study_file: Path, speed: str, capsys: Capture) -> None:
    study_file.write_text(f"speed = {speed}\n" + study_file.read_text())
    assert main(["study", str(study_file), "--estimate"]) == 2
    assert capsys.readouterr().err


def test_amounts_are_readable() -> None:
    assert [scientific(value) for value in (3.2e18, 4.04e9)] == ["3.2e18", "4.0e9"]
    assert [duration(seconds) for seconds in (0.04, 1, 12, 600, 8000, 80_000, 9.8e6)] == [
        *("0.04 seconds", "1 second", "12 seconds", "10 minutes", "2.2 hours", "22 hours", "2,722 hours")
    ]
