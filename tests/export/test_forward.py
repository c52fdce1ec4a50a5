from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from small_trunk import SPEC, FixedBatch, SmallTrunk, Unexportable

from advcal_edge.errors import ConfigError, ExportError
from advcal_edge.export.fidelity import embed, run_graph
from advcal_edge.export.forward import export_forward
from advcal_edge.export.fp16 import convert_cast
from advcal_edge.export.graph_file import graph_files, write_graph
from advcal_edge.export.int8 import convert_int8


@pytest.mark.parametrize("n", [1, 3, 8])
def test_embeds_any_batch_like_the_module(
    forward_graph: Path, trunk: SmallTrunk, x: NDArray[np.float32], n: int
) -> None:
    (z,) = run_graph(forward_graph, {"x": x[:n]}, reference=True)
    np.testing.assert_allclose(z, embed(trunk, x[:n]), atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)


def test_names_batch_and_labels(forward_graph: Path) -> None:
    model = onnx.load(str(forward_graph))
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"x": ["n", 1, 40, 40], "z": ["n", 16]}
    labels = {entry.key: entry.value for entry in model.metadata_props}
    assert labels == {"advcal_edge.kind": "forward", "advcal_edge.opset": "20", "advcal_edge.precision": "fp32"}


def test_layer_norm_is_one_operator_and_attention_is_not(forward_graph: Path) -> None:
    kinds = [node.op_type for node in onnx.load(str(forward_graph)).graph.node]
    assert kinds.count("LayerNormalization") == 4
    assert kinds.count("Softmax") == 1
    assert "Attention" not in kinds


@pytest.mark.parametrize("opset", [18, 19])
def test_writes_the_opset_asked_for(trunk: SmallTrunk, x: NDArray[np.float32], tmp_path: Path, opset: int) -> None:
    path = tmp_path / "graph.onnx"
    export_forward(trunk, SPEC, path, opset)
    assert [(entry.domain, entry.version) for entry in onnx.load(str(path)).opset_import] == [("", opset)]
    np.testing.assert_allclose(run_graph(path, {"x": x}, reference=True)[0], embed(trunk, x), atol=2e-6)
    convert_cast(path, tmp_path / "half.onnx", "fp16")  # below 20 GELU is several operators
    (z,) = run_graph(tmp_path / "half.onnx", {"x": x}, reference=False)
    np.testing.assert_allclose(z, embed(trunk, x), atol=2e-3)


def test_default_opset_is_20(forward_graph: Path) -> None:
    assert [(entry.domain, entry.version) for entry in onnx.load(str(forward_graph)).opset_import] == [("", 20)]


@pytest.mark.parametrize("opset", [17, 21])
def test_refuses_other_opsets(trunk: SmallTrunk, tmp_path: Path, opset: int) -> None:
    with pytest.raises(ConfigError, match=f"opset {opset} is not supported; expected 18 to 20"):
        export_forward(trunk, SPEC, tmp_path / "graph.onnx", opset)


@pytest.mark.parametrize("fixture", ["forward_graph", "vjp_graph", "fp16_graph", "int8_graph"])
def test_files_tell_nothing_of_this_machine(fixture: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(fixture)
    content = path.read_bytes()
    for trace in (str(Path(__file__).parents[2]).encode(), str(path.parent).encode(), b".py", b"stack_trace"):
        assert trace not in content


def test_same_bytes_in_another_process(forward_graph: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from small_trunk import SPEC, build_trunk; from advcal_edge.export.forward import export_forward\n"
        "export_forward(build_trunk(), SPEC, Path(sys.argv[2], 'graph.onnx'))"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "graph.onnx").read_bytes() == forward_graph.read_bytes()
    assert done.stdout == ""
    assert done.stderr == ""


def test_leaves_the_module_as_it_was(trunk: SmallTrunk, forward_graph: Path) -> None:
    assert all(parameter.requires_grad for parameter in trunk.parameters())


def test_a_module_that_cannot_be_traced(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="`Unexportable` cannot be exported") as caught:
        export_forward(Unexportable(), SPEC, tmp_path / "graph.onnx")
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_module_with_a_fixed_batch(tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        export_forward(FixedBatch(), SPEC, tmp_path / "graph.onnx")


def test_large_weights_go_beside_the_graph(
    forward_graph: Path, trunk: SmallTrunk, x: NDArray[np.float32], tmp_path: Path
) -> None:
    path = tmp_path / "large.onnx"
    model = onnx.load(str(forward_graph))
    write_graph(model, path, precision="fp32", kind="forward", opset=20, external_above=1000)
    assert [file.name for file in graph_files(path)] == ["large.onnx", "large.onnx.data"]
    want = embed(trunk, x)
    np.testing.assert_allclose(run_graph(path, {"x": x}, reference=True)[0], want, atol=2e-6)
    convert_cast(path, tmp_path / "fp16.onnx", "fp16")
    np.testing.assert_allclose(run_graph(tmp_path / "fp16.onnx", {"x": x}, reference=False)[0], want, atol=2e-3)
    convert_int8(path, tmp_path / "int8.onnx", x)
    assert (run_graph(tmp_path / "int8.onnx", {"x": x}, reference=False)[0] * want).sum(1).mean() > 0.98


def test_trained_norms_survive(trunk: SmallTrunk, forward_graph: Path) -> None:
    weights = {tensor.name: tensor for tensor in onnx.load(str(forward_graph)).graph.initializer}
    found = torch.from_numpy(onnx.numpy_helper.to_array(weights["norm.weight"]).copy())
    assert torch.equal(found, trunk.norm.weight.detach())
