"""The part of `export` that builds plans: what to build with, from which graphs, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.config import Layer
from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.precision import BACKWARD_GRAPH, DEFAULT_PRECISIONS, PRECISIONS
from advcal_edge.registry import choose
from advcal_edge.report.table import table
from advcal_edge.runtime.backends.trt_api import Product, find_product

if TYPE_CHECKING:
    from advcal_edge.export.target import BuildOptions
    from advcal_edge.export.tensorrt.plans import BuiltPlan


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A product, the forward plans to build by their precisions, whether to build the backward plan, and how."""

    product: Product
    precisions: tuple[str, ...]
    gradient: bool
    options: BuildOptions

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the graphs to build from, the backward graph last."""
        return (*(PRECISIONS[name].graph for name in self.precisions), *((BACKWARD_GRAPH,) if self.gradient else ()))

    def only(self, precisions: Collection[str]) -> PlanRequest:
        """The same for fewer forward plans, the backward plan included."""
        return replace(self, precisions=tuple(name for name in self.precisions if name in precisions))

    def missing(self, bundle: Bundle) -> tuple[str, ...]:
        """Graphs that have to be exported first."""
        return tuple(name for name in self.graphs if not bundle.has(name))

    def build(self, bundle: Bundle, console: Console) -> tuple[Bundle, tuple[BuiltPlan, ...]]:
        """Build, show what was built, and return it."""
        from advcal_edge.export.tensorrt.build import find_device
        from advcal_edge.export.tensorrt.plans import build_plans

        device = find_device()
        console.say(
            f"build  {bundle.path}  {self.product} on {device or 'a machine without a CUDA device'}"
            f"  batch {','.join(map(str, self.options.batch))}"
        )
        bundle, built = build_plans(
            bundle, self.product, self.graphs, self.options, report=lambda name: console.say(f"building from {name}")
        )
        console.result(table(["plan", "from", "asked", "achieved", "MB", "s"], [row(plan) for plan in built]))
        if any(plan.metadata.evidence == "network" for plan in built):
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
    listed = tuple(name for name, precision in PRECISIONS.items() if bundle.has(precision.graph))
    precisions = words(chosen.precisions) or listed or DEFAULT_PRECISIONS
    for name in precisions:
        choose("precision", name, PRECISIONS)
    return PlanRequest(product, precisions, chosen.gradient and not no_gradient, options)


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
    metadata = plan.metadata
    achieved = f"{metadata.achieved} ({metadata.evidence}, {len(metadata.layers)} products)"
    return [
        plan.path,
        metadata.graph,
        metadata.precision,
        achieved,
        f"{metadata.bytes / 1e6:.2f}",
        f"{metadata.seconds:.1f}",
    ]
