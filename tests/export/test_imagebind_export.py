"""ImageBind's trunks as graphs: every kind of stem exports with its gradient, and the published sizes within limits."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from random_imagebind import randomise
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.imagebind.encoder import MODALITIES, trunk_config
from advcal_edge.encoders.imagebind.published import TrunkConfig
from advcal_edge.encoders.imagebind.trunk import Trunk
from advcal_edge.export.fidelity import FP32_LIMITS, VJP_LIMITS, check_fidelity, measure_forward, measure_vjp
from advcal_edge.export.forward import export_forward
from advcal_edge.export.scatter import SCATTERS
from advcal_edge.export.vjp import export_vjp
from advcal_edge.spec import TensorSpec

pytestmark = pytest.mark.slow
GATHERS = {"Gather", "GatherElements", "GatherND"}


class Deployed(nn.Module):
    """Physical x to unit-norm z."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        with torch.random.fork_rng():
            self.trunk = Trunk(config)
            torch.manual_seed(0)
            randomise(self.trunk)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.trunk(x), dim=-1)


def sample(spec: TensorSpec, n: int) -> NDArray[np.float32]:
    low, high = spec.bounds
    return np.random.default_rng(0).uniform(low, high, (n, *spec.shape)).astype(np.float32)


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(str(path), load_external_data=False).graph.node}


@pytest.mark.parametrize("modality", list(MODALITIES))
def test_a_small_trunk_of_every_sensor_exports_with_its_gradient(modality: str, tmp_path: Path) -> None:
    spec = MODALITIES[modality].input
    config = replace(trunk_config(MODALITIES[modality]), width=32, depth=1, heads=4, embedding_dim=24)
    module, x = Deployed(config), sample(spec, 3)
    export_forward(module, spec, tmp_path / "forward.onnx")
    export_vjp(module, spec, 24, tmp_path / "vjp.onnx")
    check_fidelity("forward", measure_forward(tmp_path / "forward.onnx", module, x, reference=True), FP32_LIMITS)
    check_fidelity("vjp", measure_vjp(tmp_path / "vjp.onnx", module, x, spec.width), VJP_LIMITS)
    assert not operators(tmp_path / "forward.onnx") & (SCATTERS | GATHERS)
    assert not operators(tmp_path / "vjp.onnx") & (SCATTERS | GATHERS)


@pytest.mark.parametrize("modality", ["thermal", "audio", "depth", "imu"])
def test_a_trunk_of_published_size_exports_within_the_limits(modality: str, tmp_path: Path) -> None:
    spec, config = MODALITIES[modality].input, trunk_config(MODALITIES[modality])
    module, x = Deployed(config), sample(spec, 2)
    seconds = [time.perf_counter()]
    export_forward(module, spec, tmp_path / "forward.onnx")
    seconds.append(time.perf_counter())
    export_vjp(module, spec, config.embedding_dim, tmp_path / "vjp.onnx")
    seconds.append(time.perf_counter())
    forward = measure_forward(tmp_path / "forward.onnx", module, x, reference=True)
    vjp = measure_vjp(tmp_path / "vjp.onnx", module, x, spec.width)
    sizes = {path.name: f"{path.stat().st_size / 1e6:.0f} MB" for path in tmp_path.iterdir()}
    print(f"{modality}: exported in {np.diff(seconds).round()} s, {sizes}, {forward}, {vjp}")
    check_fidelity("forward", forward, FP32_LIMITS)
    check_fidelity("vjp", vjp, VJP_LIMITS)


def test_weights_beyond_two_gigabytes_lie_beside_the_graph(tmp_path: Path) -> None:
    spec, config = MODALITIES["image"].input, trunk_config(MODALITIES["image"])
    module, path = Deployed(config), tmp_path / "forward.onnx"
    export_forward(module, spec, path)
    assert path.stat().st_size < 10e6
    assert path.with_name("forward.onnx.data").stat().st_size > 2**31
    check_fidelity("forward", measure_forward(path, module, sample(spec, 1), reference=True), FP32_LIMITS)
