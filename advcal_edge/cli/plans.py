"""The part of `export` that builds plans: what to build with, from which graphs, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.victims import BACKWARD
from advcal_edge.config import Layer
from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.report.table import table
from advcal_edge.runtime.engine import PRECISIONS, graph_name, graphs
from advcal_edge.runtime.products import Product, find_product

if TYPE_CHECKING:
    from advcal_edge.export.plans import BuiltPlan
    from advcal_edge.export.target import BuildOptions

DEFAULT = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A product, the graphs to build from, and how."""

    product: Product
    graphs: tuple[str, ...]
    options: BuildOptions

    @property
    def precisions(self) -> tuple[str, ...]:
        """Of the forward plans."""
        return tuple(name.split(".")[1] for name in self.graphs if name != BACKWARD)

    def only(self, precisions: Collection[str]) -> PlanRequest:
        """The same for fewer forward plans, the backward plan included."""
        return replace(self, graphs=tuple(n for n in self.graphs if n == BACKWARD or n.split(".")[1] in precisions))

    def missing(self, bundle: Bundle) -> tuple[str, ...]:
        """Graphs that have to be exported first."""
        return tuple(name for name in self.graphs if not bundle.has(name))

    def build(self, bundle: Bundle, console: Console) -> tuple[Bundle, tuple[BuiltPlan, ...]]:
        """Build, show what was built, and return it."""
        from advcal_edge.export.plans import build_plans
        from advcal_edge.export.tensorrt import find_device

        device = find_device()
        console.say(
            f"build  {bundle.path}  {self.product} on {device or 'a machine without a CUDA device'}"
            f"  batch {','.join(map(str, self.options.batch))}"
        )
        bundle, built = build_plans(
            bundle, self.product, self.graphs, self.options, report=lambda name: console.say(f"building from {name}")
        )
        console.result(table(["plan", "from", "asked", "achieved", "MB", "s"], [row(plan) for plan in built]))
        if any(plan.card.evidence == "network" for plan in built):
            console.say(
                "the precision achieved was read from the typed network: nothing here can open a plan, so none was run"
            )
        console.say(f"wrote {len(built)} plans to `{bundle.path / 'engines'}`")
        return bundle, built


def prepare(bundle: Bundle, target: str | None, settings: Mapping[str, Any], no_gradient: bool) -> PlanRequest:
    """What `--trt`, `--for` and their options ask for; fails before any work where the product is not there.

    Raises:
        ConfigError: unknown target or settings.
        DependencyError: the product is not installed.
        EngineError: it does not load, or is of a version this code was not written for.
    """
    from advcal_edge.export.target import load_target, words

    chosen = load_target(target, [Layer("options", dict(settings))])
    options = chosen.options()
    product = choose_product(chosen.product, named=target is not None)
    listed = tuple(sorted(graphs(bundle), key=position)) or tuple(map(graph_name, DEFAULT))
    forward = tuple(map(graph_name, words(chosen.precisions))) if chosen.precisions else listed
    backward = (BACKWARD,) if chosen.gradient and not no_gradient else ()
    return PlanRequest(product, (*forward, *backward), options)


def position(graph: str) -> int:
    """Where a graph comes in the usual order of precisions."""
    return next((index for index, name in enumerate(PRECISIONS) if graph == graph_name(name)), len(PRECISIONS))


def choose_product(name: str, *, named: bool) -> Product:
    """The product asked for; where a bare `--trt` finds TensorRT-RTX alone, the error says how to use that.

    Raises:
        DependencyError: it is not installed.
        EngineError: it does not load, or is of a version this code was not written for.
    """
    try:
        return find_product(name)
    except DependencyError as error:
        if not named:
            with suppress(DependencyError, EngineError):
                other = find_product("tensorrt_rtx")
                error.hint = f"{error.hint}; or build with {other}, which is installed: `--for rtx`"
        raise


def row(plan: BuiltPlan) -> list[str]:
    """One plan: where it lies, what it was made of, asked and achieved, size and time."""
    card = plan.card
    achieved = f"{card.achieved} ({card.evidence}, {len(card.layers)} products)"
    return [plan.path, card.graph, card.precision, achieved, f"{card.bytes / 1e6:.2f}", f"{card.seconds:.1f}"]
