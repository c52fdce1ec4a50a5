"""A registered small encoder, its frames on disk, and a calibration of it that takes a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_encoder import REGISTRY, write_folder
from tiny_study import write_study

from advcal_edge import registry
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.config import Layer, resolve

ConfigMaker = Callable[..., CalibrateConfig]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ENCODERS", {**registry.ENCODERS, **REGISTRY})


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small products take longer with more, above all where other programs use the same cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Path:
    """A study of the small encoder, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path)


@pytest.fixture
def make_config(tmp_path: Path) -> ConfigMaker:
    """A configuration of the small encoder; keywords are sections."""

    def make(**sections: Any) -> CalibrateConfig:
        folder = tmp_path / "data"
        if not folder.exists():
            write_folder(folder, 120)
        layers = [
            Layer("test", {"modality": "thermal", "encoder": "small", "out": str(tmp_path / "B")}),
            Layer("test", {"data": {"path": str(folder)}, "threat": {"eps": 0.03}}),
            Layer(
                "test",
                {"train": {"samples": 48, "batch": 16, "epochs": 3, "cached_epochs": 20, "head_learning_rate": 5e-3}},
            ),
            Layer("test", {"evaluate": {"samples": 30, "steps": 3, "queries": 5}, "craft": {"static_steps": 3}}),
            Layer("test", sections),
        ]
        return resolve(CalibrateConfig, layers)

    return make
