"""Samples come back from the disk bit for bit."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from advcal_edge.errors import BundleError
from advcal_edge.probe import Probe, from_levels
from advcal_edge.spec import TensorSpec, image

SPEC = image(8).input


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-12.5, 3.0)])
@pytest.mark.parametrize("on_grid", [True, False])
def test_disk_round_trip_is_exact(tmp_path: Path, bounds: tuple[float, float], on_grid: bool) -> None:
    spec = TensorSpec("x", (3, 8, 8), "float32", "chw", bounds, "unit")
    rng = np.random.default_rng(0)
    if on_grid:
        x = from_levels(rng.integers(0, 256, (6, 3, 8, 8)).astype(np.uint8), spec)
    else:
        x = rng.uniform(*bounds, (6, 3, 8, 8)).astype(np.float32)
    probe = Probe(x, np.arange(6))
    path = tmp_path / "probe.npz"
    path.write_bytes(probe.to_bytes(spec))
    back = Probe.load(path, spec)
    np.testing.assert_array_equal(back.x, x)
    np.testing.assert_array_equal(back.y, probe.y)
    assert back.x.dtype == np.float32
    assert len(back.head(2)) == 2


def test_same_samples_same_bytes() -> None:
    probe = Probe(np.zeros((2, 3, 8, 8), np.float32), np.arange(2))
    assert probe.to_bytes(SPEC) == probe.to_bytes(SPEC)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "probe.npz"
    pickled = io.BytesIO()
    np.savez(pickled, x=np.array([{"a": 1}], dtype=object), y=np.arange(1), allow_pickle=True)
    whole = Probe(np.zeros((2, 3, 8, 8), np.float32), np.arange(2)).to_bytes(SPEC)
    for content in (b"", b"PK not a zip", pickled.getvalue(), whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(BundleError, match="is no readable archive of arrays"):
            Probe.load(path, SPEC)
    other = io.BytesIO()
    np.savez(other, x=np.zeros((2, 3, 9, 9), np.float32), y=np.arange(2))
    path.write_bytes(other.getvalue())
    with pytest.raises(BundleError, match=r"expected \(n, 3, 8, 8\)"):
        Probe.load(path, SPEC)
