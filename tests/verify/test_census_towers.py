"""Encoders that people bring, in other words: their censuses raise no alarm, and neither do grouped points."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from variants import census, variants

from advcal_edge.bundle import Bundle
from advcal_edge.encoders.unibind.point import PointTrunk
from advcal_edge.export.forward import export_forward
from advcal_edge.spec import TensorSpec, image
from advcal_edge.verify.census.explanation import FP32

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1] / "encoders"))
from published_towers import build
from unibind_folder import SMALL_POINT

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # the libraries' own warnings are not ours
TOWERS = ("ResNet-50", "MobileNetV2", "ConvNeXt-T", "Swin-T", "SigLIP-S/16", "DINOv3-S/16")


def check_variants(source: Path, x: np.ndarray, folder: Path) -> dict[str, int]:
    """Nothing is unexplained in any variant, and no gain is larger; the decisions of the graph itself by kind."""
    own = census(source).counts
    found = {path.stem: census(path) for path in variants(source, folder, x, opsets=[21])}  # Gelu began with 20
    assert len(found) == 7
    assert {name: list(item.unexplained(own)) for name, item in found.items()} == {name: [] for name in found}
    assert all(item.gain <= own.gain * 1.05 for item in found.values())
    return dict(own.decisions)


def test_bindlite(exported: Bundle, tmp_path: Path) -> None:
    assert check_variants(exported.file(FP32), exported.calibration().x[:16], tmp_path) == {}


@pytest.mark.parametrize("name", TOWERS)
def test_towers(name: str, tmp_path: Path) -> None:
    tower = build(name, blocks=2)
    x = np.random.default_rng(0).random((4, 3, tower.size, tower.size), dtype=np.float32)
    export_forward(tower, image(tower.size).input, tmp_path / "tower.onnx")
    assert check_variants(tmp_path / "tower.onnx", x, tmp_path) == {}


class Points(nn.Module):
    """Clouds to unit-norm z."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trunk = PointTrunk(SMALL_POINT).eval()

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.trunk(x), dim=-1)


def test_points_are_grouped_by_their_nearest(tmp_path: Path) -> None:
    spec = TensorSpec("x", (SMALL_POINT.points, 3), "float32", "point", (-1.0, 1.0), "radius")
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (4, *spec.shape)).astype(np.float32)
    export_forward(Points(), spec, tmp_path / "points.onnx")
    own = check_variants(tmp_path / "points.onnx", x, tmp_path)
    assert own["rank input"] == 2  # the neighbours of each center, at two levels
