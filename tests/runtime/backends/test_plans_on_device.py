"""Plans on a real device: built there, run there, and held against the module they came from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError
from advcal_edge.export.target import BuildOptions
from advcal_edge.export.tensorrt.build import find_device
from advcal_edge.export.tensorrt.plans import build_plans
from advcal_edge.runtime.backends.onnx import OnnxBackend
from advcal_edge.runtime.backends.tensorrt import TensorRTBackend
from advcal_edge.runtime.backends.trt_api import Product, find_product
from advcal_edge.runtime.cross_check import cross_check
from advcal_edge.runtime.model import Runner, Vjp, open_vjp

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_device() is None, reason="no CUDA device on this machine"),
]

NAMES = ["onnx/forward.fp32.onnx", "onnx/forward.fp16.onnx", "onnx/forward.int8.onnx", "onnx/vjp.fp32.onnx"]
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2}


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt_rtx"])
def product(request: pytest.FixtureRequest) -> Product:
    try:
        return find_product(request.param)
    except AdvcalError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def bundle(exported: Bundle, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    target = Path(shutil.copytree(exported.path, tmp_path_factory.mktemp(product.name) / "B"))
    built, _ = build_plans(Bundle.open(target), product, NAMES, BuildOptions(batch=(1, 8, 16)))
    return built


def plan(bundle: Bundle, graph: str) -> Path:
    from advcal_edge.runtime.engine import plan_metadata

    (name,) = [name for name, card in plan_metadata(bundle).items() if card.graph == f"onnx/{graph}.onnx"]
    return bundle.file(name)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_embeds_like_the_graph(bundle: Bundle, precision: str, cuda_graph: bool) -> None:
    spec, x = bundle.modality.input, bundle.probe().head(20).x
    ours = Runner(TensorRTBackend(plan(bundle, f"forward.{precision}"), cuda_graph=cuda_graph), spec)
    want = Runner(OnnxBackend(bundle.file(f"onnx/forward.{precision}.onnx")), spec)(x)
    for _ in range(3):
        assert np.linalg.norm(ours(x) - want) <= TOLERANCE[precision] * np.linalg.norm(want)


def test_gradient_like_the_graph(bundle: Bundle) -> None:
    spec, x = bundle.modality.input, bundle.probe().head(20).x
    v = np.random.default_rng(0).standard_normal((20, bundle.centers().dim), dtype=np.float32)
    want = open_vjp(bundle.file("onnx/vjp.fp32.onnx"), spec).pull(x, v)
    got = Vjp(TensorRTBackend(plan(bundle, "vjp.fp32")), spec).pull(x, v)
    assert np.linalg.norm(got - want) <= 1e-3 * np.linalg.norm(want)


def test_reads_torch_tensors_where_they_lie(bundle: Bundle) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch has no CUDA here")
    x = bundle.probe().head(8).x
    runner = Runner(TensorRTBackend(plan(bundle, "forward.fp32")), bundle.modality.input)
    np.testing.assert_allclose(runner(torch.from_numpy(x).cuda()), runner(x), rtol=0, atol=1e-6)


def test_polygraphy_agrees(bundle: Bundle) -> None:
    pytest.importorskip("polygraphy")
    runner = Runner(TensorRTBackend(plan(bundle, "forward.fp16")), bundle.modality.input)
    assert cross_check(runner, bundle.probe().head(8).x).relative_l2 < 1e-3
