from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from advcal_edge.export.fallback import STEPS
from advcal_edge.export.graph_regions import attention_scores, head_nodes, last_blocks, products, stem_products
from advcal_edge.export.precision import FURTHER, POLICY, kept_nodes
from advcal_edge.precision import PRECISIONS

REDUCED = [name for name in PRECISIONS if name != "fp32"]

DOCS = Path(__file__).parents[2] / "docs" / "precision.md"


@pytest.fixture(scope="module")
def graph(forward_graph: Path) -> onnx.GraphProto:
    return onnx.load(str(forward_graph)).graph


def names(precision: str) -> list[str]:
    return [part.name for part in POLICY if {precision, PRECISIONS[precision].family} & {*part.applies}]


def test_one_policy_with_a_reason_for_each_part() -> None:
    assert names("fp16") == ["input", "layer norm", "softmax", "residual", "head"]
    assert names("bf16") == ["input", "convolution", "layer norm", "softmax", "residual", "head"]
    assert names("int8") == names("fp8") == ["first product", "head"]
    assert names("fp32") == []
    assert all(part.what and part.reason for part in (*POLICY, *FURTHER))
    assert all({*part.applies} == {PRECISIONS[name].family for name in REDUCED} for part in FURTHER)


@pytest.mark.parametrize("precision", REDUCED)
def test_head_and_stem_are_kept_as_the_policy_says(graph: onnx.GraphProto, precision: str) -> None:
    kept = kept_nodes(graph, precision)
    assert head_nodes(graph) <= kept
    assert (stem_products(graph) <= kept) is (precision != "fp16")  # of fp16 alone the stem, a Conv here, is reduced
    assert attention_scores(graph).isdisjoint(kept)


@pytest.mark.parametrize("precision", REDUCED)
def test_further_parts_come_on_top(graph: onnx.GraphProto, precision: str) -> None:
    kept = kept_nodes(graph, precision)
    assert kept_nodes(graph, precision, ("attention scores",)) == kept | attention_scores(graph)
    assert kept_nodes(graph, precision, ("last blocks",)) == kept | last_blocks(graph)
    assert kept_nodes(graph, "fp32", ("last blocks",)) == frozenset()
    assert products(graph) - kept


def test_each_step_gives_back_more_and_ends_at_fp32() -> None:
    assert [step.name for step in STEPS] == [
        "as built",
        "extra outputs",
        "fp32 attention",
        "fp32 last blocks",
        "all fp32",
    ]
    parts = {part.name for part in FURTHER}
    taken: set[str] = set()
    for step in STEPS:
        assert step.what
        assert step.reason
        assert set(step.further) <= parts
        if not step.fp32:
            assert taken <= set(step.further)
            taken = set(step.further)
    assert taken == parts
    assert [step.name for step in STEPS if step.plans_only] == ["extra outputs"]
    assert [step.name for step in STEPS if step.fp32] == ["all fp32"]


def test_the_guide_has_every_part_and_every_step() -> None:
    guide = DOCS.read_text(encoding="utf-8")
    for part in (*POLICY, *FURTHER):
        assert f"| {part.name} |" in guide
    for step in STEPS:
        assert f"| {step.name} |" in guide
