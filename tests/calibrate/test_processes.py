"""Calibration by several processes, which `torchrun` starts: the same bits as by one, interrupted or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_encoder import ConfigMaker, settings_of

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.processes import ALONE, Processes, joined
from advcal_edge.calibrate.run import calibrate, calibrate_together
from advcal_edge.config import resolve
from advcal_edge.errors import ConfigError

HERE = Path(__file__).parent
SECTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"objective": {"attacked": "ce + infonce + consistency", "clean": "half"}, "train": {"mirror": True, "parts": 3}},
    {"adapter": {"kind": "head"}, "craft": {"kind": "static"}},
    {"craft": {"kind": "static"}, "train": {"batch": 15, "parts": 2}},
)


def torchrun(count: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), **environment},
        capture_output=True,
        text=True,
    )


def adapter(out: Path) -> str:
    return str(Bundle.open(out).manifest["files"]["adapter.safetensors"])


def test_two_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    done = torchrun(2, str(HERE / "together.py"), str(tmp_path), *map(json.dumps, SECTIONS))
    assert done.returncode == 0, done.stderr
    for index, sections in enumerate(SECTIONS):
        both = Bundle.open(tmp_path / str(index))
        alone = calibrate(resolve(CalibrateConfig, settings_of(tmp_path, str(tmp_path / "alone"), sections))).bundle
        assert both.manifest["files"] == alone.manifest["files"]
        assert both.section("metrics") == alone.section("metrics")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3", "alone", "data"]


@pytest.mark.slow
def test_interrupted_on_two_and_resumed_on_one(tmp_path: Path) -> None:
    done = torchrun(2, str(HERE / "together.py"), str(tmp_path), "{}", STOP="7")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "0").exists()
    resumed = resolve(CalibrateConfig, settings_of(tmp_path, str(tmp_path / "0"), {}))
    whole = resolve(CalibrateConfig, settings_of(tmp_path, str(tmp_path / "whole"), {}))
    assert adapter(calibrate(resumed, resume=True).bundle.path) == adapter(calibrate(whole).bundle.path)


@pytest.mark.slow
def test_the_command_lets_the_first_process_speak(tmp_path: Path) -> None:
    layers = settings_of(tmp_path, "", {})
    assert layers
    command = ["-m", "advcal_edge", "calibrate", "--modality", "thermal", "--encoder", "small_encoder:Small.load"]
    command += ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "B"), "--samples", "8"]
    command += ["--set", "train.epochs=1", "--set", "evaluate.steps=1", "--set", "evaluate.queries=1"]
    done = torchrun(2, *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("worst case") == 1
    assert done.stderr.count("2 processes") == 1
    assert done.stderr.count("wrote `") == 1
    assert Bundle.open(tmp_path / "B").has("adapter.safetensors")


def test_more_processes_than_parts(make_config: ConfigMaker) -> None:
    config = make_config(train={"parts": 2})
    with pytest.raises(ConfigError, match="3 processes have nothing to share: a batch of 16 has 2 parts") as caught:
        calibrate_together(config, Processes(1, 3, 1))
    assert "train.parts=3" in (caught.value.hint or "")


def test_variables_of_torchrun() -> None:
    with joined({}) as processes:
        assert processes == ALONE
    with joined({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) as processes:
        assert processes.first
    for wrong in (
        {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        {"RANK": "0", "WORLD_SIZE": "2"},
        {"RANK": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
    ):
        with pytest.raises(ConfigError, match="expected the numbers that `torchrun` sets"), joined(wrong):
            pass


@pytest.mark.parametrize("count", [1, 2, 3])
def test_items_are_shared_without_a_gap(count: int) -> None:
    own = [list(Processes(rank, count).own(7)) for rank in range(count)]
    assert sorted(item for each in own for item in each) == list(range(7))
    assert torch.equal(ALONE.gather(torch.arange(7), 7), torch.arange(7))
