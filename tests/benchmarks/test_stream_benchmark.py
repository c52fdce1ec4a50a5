"""A stream that never ends: no memory that grows, no latency that drifts."""

from __future__ import annotations

import pytest
from tiny import BundleMaker, Linear

from advcal_edge.runtime import Embedder
from advcal_edge.spec import image


@pytest.mark.parametrize("frames", [2000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_memory_and_latency_stay(frames: int, make_bundle: BundleMaker) -> None:
    from stream import PARTS, draw, measure

    parts = list(measure(Embedder.load(make_bundle(Linear.random(image(8))).path, threads=1), frames))
    print(draw(parts))
    assert sum(part.frames for part in parts) == frames
    assert len(parts) == PARTS
    assert parts[-1].kibibytes - parts[1].kibibytes < 4096
    assert parts[-1].p50 < 3 * parts[1].p50  # what else runs here moves it, but not by more
