"""A registered small encoder, its frames on disk, and a calibration of it that takes a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_encoder import REGISTRY, ConfigMaker, settings_of
from tiny_study import write_study

from advcal_edge import registry
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.config import resolve


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
        return resolve(CalibrateConfig, settings_of(tmp_path, str(tmp_path / "B"), sections))

    return make
