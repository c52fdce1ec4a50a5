"""The precision fallback: parts of an engine that return to fp32, step by step, until it reaches parity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One way to build an engine of a precision; `further` names the parts of the policy that also stay fp32."""

    name: str
    what: str
    reason: str
    further: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    """Names of single matrix products that also stay fp32, from a search that ranks them."""
    plans_only: bool = False
    """Does the step change how a plan is built from the graph, instead of the graph?"""
    fp32: bool = False
    """Is the engine of this step the fp32 graph, so that the requested precision is given up?"""

    @property
    def kept(self) -> tuple[str, ...]:
        """Parts and nodes that stay fp32 in addition to the policy."""
        return (*self.further, *self.nodes)


NAMED = 4
"""Nodes that a line of text names."""

STEPS = (
    Step("as built", "the graph as the policy makes it", "most graphs need no more"),
    Step(
        "extra outputs",
        "intermediate values as outputs of the network",
        "a builder keeps values in reduced precision within what it fuses; an output ends a fusion",
        plans_only=True,
    ),
    Step(
        "fp32 attention",
        "attention scores in fp32, up to the softmax, which is fp32 already",
        "scores are what overflows first, and a softmax turns their error into a factor",
        further=("attention scores",),
    ),
    Step(
        "fp32 last blocks",
        "also the matrix products of the last quarter of the blocks in fp32",
        "no later block averages their error out, and activations are largest there",
        further=("attention scores", "last blocks"),
    ),
    Step("all fp32", "the fp32 graph", "it rounds nothing; the precision asked for is given up", fp32=True),
)
"""Ordered by cost, cheapest first; each step includes the changes of those before it."""


SEARCHES = {
    "steps": "growing parts of the graph, as in `STEPS`",
    "nodes": "the matrix products that cost most, as ranked by `export.node_ranking`",
}
"""What a search for parity keeps in fp32."""


def graph_steps() -> tuple[Step, ...]:
    """The steps that ONNX graphs can take."""
    return tuple(step for step in STEPS if not step.plans_only)


def node_step(name: str, nodes: Sequence[str]) -> Step:
    """The step that keeps single matrix products in fp32."""
    named = ", ".join(nodes[:NAMED]) + (f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else "")
    return Step(name, f"{named} in fp32", "they cost the engine its robustness", nodes=tuple(nodes))


def find_step(name: str | None, nodes: Sequence[str] = ()) -> Step | None:
    """The step with this name, or the one that keeps `nodes`; None for None, and for a name of another version."""
    if name is not None and nodes:
        return node_step(name, nodes)
    return next((step for step in STEPS if step.name == name), None)
