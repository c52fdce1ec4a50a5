"""Graphs of the small trunk, each exported once for all tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from once import once_per_run
from small_trunk import EMBEDDING_DIM, SPEC, SmallTrunk, build_trunk

from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.export.forward import export_forward
from advcal_edge.export.fp8 import convert_fp8
from advcal_edge.export.fp16 import convert_cast
from advcal_edge.export.int8 import convert_int8
from advcal_edge.export.vjp import export_vjp
from advcal_edge.probe import Probe
from advcal_edge.spec import Modality


def draw_samples(n: int, seed: int) -> NDArray[np.float32]:
    """Inputs (n, 1, 40, 40) on the 8-bit grid."""
    return np.random.default_rng(seed).integers(0, 256, (n, *SPEC.shape)).astype(np.float32) / np.float32(255)


@pytest.fixture(scope="session")
def trunk() -> SmallTrunk:
    return build_trunk()


@pytest.fixture(scope="session")
def x() -> NDArray[np.float32]:
    return draw_samples(8, seed=0)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def forward_graph(trunk: SmallTrunk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def export(folder: Path) -> None:
        folder.mkdir()
        export_forward(trunk, SPEC, folder / "forward.onnx")

    return once_per_run(tmp_path_factory, "small forward", export) / "forward.onnx"


@pytest.fixture(scope="session")
def vjp_graph(trunk: SmallTrunk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def export(folder: Path) -> None:
        folder.mkdir()
        export_vjp(trunk, SPEC, EMBEDDING_DIM, folder / "vjp.onnx")

    return once_per_run(tmp_path_factory, "small vjp", export) / "vjp.onnx"


@pytest.fixture(scope="session")
def fp16_graph(forward_graph: Path, folder: Path) -> Path:
    convert_cast(forward_graph, folder / "fp16.onnx", "fp16")
    return folder / "fp16.onnx"


@pytest.fixture(scope="session")
def bf16_graph(forward_graph: Path, folder: Path) -> Path:
    convert_cast(forward_graph, folder / "bf16.onnx", "bf16")
    return folder / "bf16.onnx"


@pytest.fixture(scope="session")
def fp8_graph(forward_graph: Path, folder: Path) -> Path:
    convert_fp8(forward_graph, folder / "fp8.onnx", draw_samples(32, seed=1))
    return folder / "fp8.onnx"


@pytest.fixture(scope="session")
def int8_graph(forward_graph: Path, folder: Path) -> Path:
    convert_int8(forward_graph, folder / "int8.onnx", draw_samples(32, seed=1))
    return folder / "int8.onnx"


@pytest.fixture(scope="session")
def broken_graph(forward_graph: Path, folder: Path) -> Path:
    """The forward graph with its position embedding disturbed."""
    model = onnx.load(str(forward_graph))
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("position"))
    disturbed = onnx.numpy_helper.to_array(tensor) + np.float32(0.05)
    disturbed[:, 0] *= -1
    tensor.CopyFrom(onnx.numpy_helper.from_array(disturbed, tensor.name))
    onnx.save(model, str(folder / "broken.onnx"))
    return folder / "broken.onnx"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    vectors = np.eye(3, EMBEDDING_DIM, dtype=np.float32)
    files = {
        "centers.safetensors": Centers(("a", "b", "c"), vectors, 0.1, "test").to_bytes(),
        "probe.npz": Probe(draw_samples(12, seed=2), np.zeros(12, np.int64)).to_bytes(SPEC),
        "calibration.npz": Probe(draw_samples(24, seed=3), np.zeros(24, np.int64)).to_bytes(SPEC),
    }
    manifest = {"modality": Modality("thermal", SPEC, "thermal", 8).to_json()}
    return Bundle.create(tmp_path / "bundle", manifest, files)
