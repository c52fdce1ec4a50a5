"""Rank the matrix products of a reduced precision by the flips under attack that each of them causes.

A product is measured in two ways, both on the same inputs near the decision (`export.flip_inputs`). *Reduced alone*, in
a graph that is fp32 otherwise, it shows its own drift over margin, also where several products break the engine and
mending one is not enough. *Kept alone* in fp32, in a graph that is reduced otherwise, it shows how many flips of the
failing engine disappear. The ranking orders by the sum of both, in inputs.

Graphs are built by the converters of the export, so that what is measured is what would be exported, and are emulated
where the fidelity of the precision is. At most 1 + `ALONE` + `KEPT` graphs are built: in a graph with more products,
whole blocks are reduced first, and those with the highest risk are bisected.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from advcal_edge.attacks import AttackedModel
from advcal_edge.bundle import Bundle
from advcal_edge.errors import NothingReducedError
from advcal_edge.export.conversion import find_conversion
from advcal_edge.export.fallback import STEPS
from advcal_edge.export.fidelity import run_graph
from advcal_edge.export.flip_inputs import FlipInputs, Margins
from advcal_edge.export.graph_maker import GraphMaker
from advcal_edge.export.graph_regions import blocks, scopes
from advcal_edge.report.nodes import NodeRanking, RankedNode
from advcal_edge.runtime.backends.onnx import OnnxBackend
from advcal_edge.runtime.model import EngineGradient, Runner
from advcal_edge.verify.backward import backward_for_engines

ALONE = 64
"""Graphs with one product, or one group of them, reduced."""
GROUPS = 32
"""Groups to begin with, in a graph with more than `ALONE` products."""
KEPT = 16
"""Graphs with one product kept in fp32: those of the highest risk."""


@dataclass(slots=True)
class NodeTrials:
    """Graphs of one precision that are built only to be compared with the reference, in `folder`."""

    maker: GraphMaker
    precision: str
    folder: Path
    builds: int = 0

    @property
    def products(self) -> tuple[str, ...]:
        """Names of the matrix products that the policy reduces, in the order of the graph."""
        reduced = self.maker.reduced(self.precision, STEPS[0])
        return tuple(node.name for node in self.graph().node if node.name in reduced)

    def graph(self) -> onnx.GraphProto:
        """The structure of the fp32 graph."""
        return onnx.load(str(self.maker.reference()), load_external_data=False).graph

    def build(self, kept: Collection[str]) -> Path:
        """Build the graph that keeps these products in fp32, as a file to measure.

        Raises:
            NothingReducedError: everything stays fp32.
            ExportError: it cannot be built.
        """
        self.builds += 1
        conversion = find_conversion(self.precision)
        path = self.folder / f"trial.{self.precision}.onnx"
        conversion.convert(self.maker.reference(), path, lambda: self.maker.bundle.calibration().x, sorted(kept), None)
        if conversion.emulate is None:
            return path
        emulation = self.folder / f"emulation.{self.precision}.onnx"
        conversion.emulate(path, emulation)
        return emulation

    @property
    def emulated(self) -> bool:
        """Is an emulation measured, which must run without the optimiser that would undo its rounding?"""
        return find_conversion(self.precision).emulate is not None

    def margins(self, inputs: FlipInputs, kept: Collection[str]) -> Margins:
        """Margins (n,) of the graph that keeps these products in fp32; those of the reference if all stay fp32."""
        try:
            path = self.build(kept)
        except NothingReducedError:
            return inputs.reference
        (z,) = run_graph(path, {"x": inputs.x}, reference=self.emulated)
        return inputs.margins(z)

    def engine(self, bundle: Bundle, reference: AttackedModel, gradient: str) -> AttackedModel:
        """The graph that the policy makes, as a model to attack; its backward pass is as in a verification."""
        backend = OnnxBackend(self.build(()), optimization="basic" if self.emulated else "all")
        runner, backward = Runner(backend, bundle.modality.input), backward_for_engines(bundle, gradient, reference)
        return AttackedModel(runner, bundle.centers(), None if backward is None else EngineGradient(runner, backward))


def rank_nodes(trials: NodeTrials, inputs: FlipInputs) -> NodeRanking:
    """Measure the products of a precision, and order them by what they cost, culprit first.

    Raises:
        ExportError: a graph cannot be built or run.
    """
    risks = measure_risks(trials, inputs)
    worst = sorted(risks, key=lambda name: -risks[name])[:KEPT]
    removed = {name: int((inputs.flips & ~inputs.flipped(trials.margins(inputs, (name,)))).sum()) for name in worst}
    graph = trials.graph()
    kinds, modules = {node.name: node.op_type for node in graph.node}, scopes(graph)
    nodes = [
        RankedNode(name, kinds[name], modules.get(name), removed.get(name), round(risk, 3))
        for name, risk in risks.items()
    ]
    nodes.sort(key=lambda node: -node.score)  # stable: ties stay in the order of the graph
    return NodeRanking(len(inputs), int(inputs.flips.sum()), trials.builds, tuple(nodes))


def measure_risks(trials: NodeTrials, inputs: FlipInputs) -> Mapping[str, float]:
    """Drift over margin of each product when it alone is reduced, by name in the order of the graph.

    With more than `ALONE` products, blocks are reduced first, and the one with the highest risk is halved, again and
    again. Products that are still together in the end share their risk.
    """
    products = trials.products

    def risk(reduced: Collection[str]) -> float:
        return inputs.risk(trials.margins(inputs, set(products) - set(reduced)))

    if len(products) <= ALONE:
        return {name: risk((name,)) for name in products}
    together = {group: risk(group) for group in group_products(trials.graph(), products)}
    left = ALONE - len(together)
    while left > 1 and (divisible := [group for group in together if len(group) > 1]):
        worst = max(divisible, key=together.__getitem__)
        del together[worst]
        middle = len(worst) // 2
        together |= {half: risk(half) for half in (worst[:middle], worst[middle:])}
        left -= 2
    each = {name: total / len(group) for group, total in together.items() for name in group}
    return {name: each[name] for name in products}


def group_products(graph: onnx.GraphProto, products: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Products by transformer block, in order, neighbouring blocks together until there are at most `GROUPS` groups.

    A product outside all blocks joins those before it. Without blocks, neighbouring products are grouped.
    """
    starts = {next((name for name in products if name in block), None) for block in blocks(graph)} - {None}
    groups: list[tuple[str, ...]] = []
    for name in products:
        if name in starts or not starts or not groups:
            groups.append((name,))
        else:
            groups[-1] += (name,)
    size = -(-len(groups) // GROUPS)
    return tuple(sum(groups[i : i + size], ()) for i in range(0, len(groups), size))
