"""Fixtures that several folders share: a tiny real bundle, written anew for each test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tiny import BundleMaker, Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.spec import image, thermal


@pytest.fixture(params=[image(8), thermal(8)], ids=["image", "thermal"])
def linear(request: pytest.FixtureRequest) -> Linear:
    """The tiny encoder, once for each modality."""
    return Linear.random(request.param)


@pytest.fixture
def make_bundle(tmp_path: Path) -> BundleMaker:
    """Writes `tmp_path / "B"`; thermal and one fp32 graph without a report, unless told."""

    def make(
        linear: Linear | None = None, precisions: tuple[str, ...] = ("fp32",), verdicts: Mapping[str, str] | None = None
    ) -> Bundle:
        return write_bundle(tmp_path / "B", linear or Linear.random(thermal(8)), precisions, verdicts or {})

    return make
