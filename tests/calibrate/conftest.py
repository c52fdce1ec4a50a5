"""A registered small encoder, its frames on disk, and a calibration of it that takes a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_encoder import REGISTRY, settings_of

from advcal_edge import registry
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.config import resolve

ConfigMaker = Callable[..., CalibrateConfig]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ENCODERS", {**registry.ENCODERS, **REGISTRY})


@pytest.fixture
def make_config(tmp_path: Path) -> ConfigMaker:
    """A configuration of the small encoder; keywords are sections."""

    def make(**sections: Any) -> CalibrateConfig:
        return resolve(CalibrateConfig, settings_of(tmp_path, str(tmp_path / "B"), sections))

    return make
