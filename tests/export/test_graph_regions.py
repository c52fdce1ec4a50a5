from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from small_trunk import SPEC, SmallTrunk
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.export.forward import export_forward
from advcal_edge.export.graph_regions import (
    attention_scores,
    blocks,
    constants,
    head_nodes,
    input_nodes,
    last_blocks,
    products,
    residual_sums,
)


@pytest.fixture(scope="module")
def graph(forward_graph: Path) -> onnx.GraphProto:
    return onnx.load(str(forward_graph)).graph


class Deep(nn.Module):
    """The small trunk with its block repeated `depth` times."""

    def __init__(self, trunk: SmallTrunk, depth: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        trunk = self.trunk
        patches = trunk.stem(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([trunk.class_token.expand(x.shape[0], -1, -1), patches], dim=1) + trunk.position
        for _ in range(self.depth):
            tokens = trunk.block(tokens)
        return F.normalize(trunk.head(trunk.norm(tokens[:, 0])), dim=-1)


def nodes(graph: onnx.GraphProto, names: frozenset[str]) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.name in names]


def test_the_scores_are_one_product_of_two_activations_before_the_softmax(graph: onnx.GraphProto) -> None:
    found = nodes(graph, attention_scores(graph))
    fixed = constants(graph)
    assert [node.op_type for node in found if node.op_type == "MatMul"] == ["MatMul"]
    assert fixed.isdisjoint(next(node for node in found if node.op_type == "MatMul").input)
    (softmax,) = (node for node in graph.node if node.op_type == "Softmax")
    assert softmax.input[0] in {name for node in found for name in node.output}


def test_a_softmax_over_no_product_has_no_scores() -> None:
    text = "g (float[n, 4] x, float[4, 4] w) => (float[n, 4] z) { y = Softmax(x) z = MatMul(y, w) }"
    graph = onnx.parser.parse_graph(text)
    for i, node in enumerate(graph.node):
        node.name = str(i)
    assert attention_scores(graph) == frozenset()
    assert blocks(graph) == ()
    assert last_blocks(graph) == frozenset()


@pytest.mark.parametrize(("depth", "last"), [(1, 1), (3, 1), pytest.param(8, 2, marks=pytest.mark.slow)])
def test_blocks_are_counted_and_the_last_quarter_of_them_found(
    trunk: SmallTrunk, tmp_path: Path, depth: int, last: int
) -> None:
    export_forward(Deep(trunk, depth), SPEC, tmp_path / "deep.onnx")
    graph = onnx.load(str(tmp_path / "deep.onnx")).graph
    found = blocks(graph)
    assert len(found) == depth
    for block in found:
        kinds = [node.op_type for node in nodes(graph, block)]
        assert kinds.count("Softmax") == 1
        assert kinds.count("LayerNormalization") == 2
    assert frozenset().union(*found).isdisjoint(head_nodes(graph))
    each = [block & products(graph) for block in found]
    assert last_blocks(graph) == frozenset().union(*each[-last:])
    assert len({len(block) for block in each}) == 1


def test_blocks_without_attention_begin_at_every_norm(tmp_path: Path) -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(40, 8)
            self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(4))
            self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.stem(x[:, 0])
            for norm, layer in zip(self.norms, self.layers, strict=False):
                tokens = tokens + layer(norm(tokens))
            return F.normalize(self.norms[3](tokens).mean(dim=1), dim=-1)

    torch.manual_seed(0)
    export_forward(Mixer(), SPEC, tmp_path / "mixer.onnx")
    graph = onnx.load(str(tmp_path / "mixer.onnx")).graph
    assert len(blocks(graph)) == 3
    assert len(last_blocks(graph)) == 1


def test_residuals_are_the_sums_of_two_activations(graph: onnx.GraphProto) -> None:
    assert len(residual_sums(graph)) == 2


def test_the_input_ends_at_the_first_product(graph: onnx.GraphProto) -> None:
    assert products(graph).isdisjoint(input_nodes(graph))
    assert {node.op_type for node in nodes(graph, input_nodes(graph))} >= {"Sub", "Div"}
