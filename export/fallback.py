"""The precision fallback: parts of an engine that return to fp32, step by step, until it reaches parity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One way to build an engine of a precision; `further` names the parts of the policy that also stay fp32."""

    name: str
    what: str
    reason: str
    further: tuple[str, ...] = ()
    plans_only: bool = False
    """Does the step change how a plan is built from the graph, instead of the graph?"""
    fp32: bool = False
    """Is the engine of this step the fp32 graph, so that the requested precision is given up?"""


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


def graph_steps() -> tuple[Step, ...]:
    """The steps that ONNX graphs can take."""
    return tuple(step for step in STEPS if not step.plans_only)


def find_step(name: str | None) -> Step | None:
    """The step with this name; None for None, and for a name of another version."""
    return next((step for step in STEPS if step.name == name), None)
