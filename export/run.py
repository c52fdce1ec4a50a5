"""The verb: export a calibrated bundle to graphs, and graphs to plans, each compared with the torch module."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.config import Layer
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.errors import ConfigError, DependencyError, EngineError, ExportError
from advcal_edge.export.fallback import SEARCHES
from advcal_edge.export.graphs import choose_graphs, export_graphs
from advcal_edge.export.result import ExportResult, Missing
from advcal_edge.precision import BACKWARD_GRAPH, DEFAULT_PRECISIONS, PRECISIONS
from advcal_edge.registry import choose
from advcal_edge.runtime.backends.trt_api import Product, find_product
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.run import UNWATCHED, Watch as VerifyWatch, open_bundle

if TYPE_CHECKING:
    from torch import nn

    from advcal_edge.export.parity import Search
    from advcal_edge.export.target import BuildOptions
    from advcal_edge.export.tensorrt.plans import BuiltPlan


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Which engines to make, and how.

    Raises:
        ConfigError: an unknown search, or one that the other options leave nothing for.
    """

    precisions: tuple[str, ...] | None = None
    """Precisions of the forward engines; None for fp32, fp16 and int8, or for plans those of the bundle's graphs."""
    gradient: bool = True
    """Write the backward graph, without which only a machine with torch can verify an engine."""
    opset: int = 20
    plans: bool = False
    """Build TensorRT plans from the graphs on this machine."""
    target: str | None = None
    """Target of the plans: a preset like `jetson-orin` or `rtx`, or a TOML file."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the builder, as in a target's TOML file: `batch`, `memory` and others."""
    until_parity: VerifyOptions | None = None
    """How to verify each engine of a reduced precision; more of it stays fp32 until it passes."""
    consent: Consent = field(default=NOTHING, compare=False)
    """What the bundle may load on this machine."""
    search: str = "steps"
    """With `until_parity`, what is kept in fp32: `steps` of growing parts, or single `nodes` that are ranked first."""

    def __post_init__(self) -> None:
        choose("search", self.search, SEARCHES)
        if self.search == "steps":
            return
        if self.until_parity is None:
            raise ConfigError(
                f"`--search {self.search}` without `--until-parity`: nothing is searched", hint="add `--until-parity`"
            )
        if self.plans or self.target is not None:
            raise ConfigError(
                f"`--search {self.search}` and `--trt` exclude each other: products are ranked in graphs, not in plans",
                hint="search without `--trt`; `--trt` alone then builds a plan from the graph that passed",
            )


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks of an export; the default of each does nothing."""

    say: Callable[[str], None] = lambda line: None
    """A line about the current step."""
    graphs: Callable[[ExportResult], None] = lambda result: None
    plans: Callable[[tuple[BuiltPlan, ...]], None] = lambda plans: None
    search: Callable[[Search], None] = lambda search: None
    """A completed search for parity."""
    verification: VerifyWatch = UNWATCHED
    """For the verifications of a search."""
    missing: Callable[[Missing], None] = lambda item: None
    """Something could not be made; the export goes on with the rest."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A product, the precisions of the forward plans, whether to build the backward plan, and how."""

    product: Product
    precisions: tuple[str, ...]
    gradient: bool
    options: BuildOptions

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the graphs to build from, the backward graph last."""
        return (*(PRECISIONS[name].graph for name in self.precisions), *((BACKWARD_GRAPH,) if self.gradient else ()))

    def only(self, precisions: Collection[str]) -> PlanRequest:
        """The same request for fewer forward plans; the backward plan is kept."""
        return replace(self, precisions=tuple(name for name in self.precisions if name in precisions))

    def without(self, missing: Sequence[Missing]) -> PlanRequest:
        """The same request without the plans of graphs that could not be made."""
        lacking = {item.name for item in missing}
        kept = self.only([name for name in self.precisions if PRECISIONS[name].graph not in lacking])
        return replace(kept, gradient=self.gradient and BACKWARD_GRAPH not in lacking)


def export(
    bundle: Bundle | str | Path,
    options: ExportOptions = ExportOptions(),
    *,
    watch: Watch | None = None,
) -> ExportResult:
    """Add the encoder with its adapter merged to a bundle as ONNX graphs, and plans built from them.

    Before it is kept, each graph is checked against the torch module, and each plan for the requested precision. What
    could not be made is listed in `missing` of the result; the rest is in the bundle.

    >>> from advcal_edge import ExportOptions, export
    >>> result = export("B", ExportOptions(precisions=("fp32",), gradient=False))
    >>> [graph.path for graph in result.graphs]
    ['onnx/forward.fp32.onnx']

    Raises:
        ConfigError: options that cannot be honoured.
        BundleError: the bundle cannot be written, or its encoder may not be loaded.
        ExportError: nothing that was requested can be made.
        DependencyError: a package that the options need is not installed.
    """
    opened, watch = open_bundle(bundle), watch or Watch()
    opened.require_calibration("export")
    plans = prepare_plans(opened, options) if options.plans or options.target is not None else None
    if plans is None and options.settings:
        flags = ", ".join(f"`--{name.replace('_', '-')}`" for name in options.settings)
        raise ConfigError(f"{flags} without `--trt`: graphs have no such settings", hint="add `--trt`")
    precisions = DEFAULT_PRECISIONS if options.precisions is None else options.precisions
    if options.until_parity is not None:
        from advcal_edge.export.parity import export_until_parity

        precisions = precisions if plans is None else plans.precisions
        return export_until_parity(opened, precisions, options.until_parity, options, plans, watch)
    if plans is None:
        return add_forward(opened, precisions, options.gradient, options, watch).check()
    result = ExportResult(options.opset, ())
    missing = [name for name in plans.graphs if not opened.has(name)]
    if missing:
        watch.say(f"not in the bundle yet: {', '.join(missing)}")
        forward = tuple(name for name in plans.precisions if PRECISIONS[name].graph in missing)
        result = add_forward(opened, forward, BACKWARD_GRAPH in missing, options, watch)
    request = plans.without(result.missing)
    if not request.precisions:
        return result.check()
    built, unbuilt = add_plans(Bundle.open(opened.path), request, watch)
    return replace(result, plans=built, missing=(*result.missing, *unbuilt))


def add_forward(
    bundle: Bundle, precisions: tuple[str, ...], gradient: bool, options: ExportOptions, watch: Watch
) -> ExportResult:
    """Export graphs into the bundle."""
    choose_graphs(precisions, gradient)
    watch.say(
        f"export  {bundle.path}  {', '.join(precisions)}{' and gradient' if gradient else ''}  opset {options.opset}"
    )
    _, result = export_graphs(
        bundle,
        open_module(bundle, options.consent),
        precisions=precisions,
        gradient=gradient,
        opset=options.opset,
        report=lambda name: watch.say(f"writing {name}"),
        lost=watch.missing,
    )
    if result.graphs:
        watch.graphs(result)
    return result


def open_module(bundle: Bundle, consent: Consent) -> nn.Module:
    """The torch module of a bundle: encoder, adapter merged, unit norm.

    Raises:
        DependencyError: torch is not installed.
        BundleError: its encoder's code or weights may not be loaded, or have changed.
    """
    try:
        from advcal_edge.calibrate.deploy import module_from_bundle
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise DependencyError("torch", extra="export", purpose="`export`") from error
    return module_from_bundle(bundle, consent)


def prepare_plans(bundle: Bundle, options: ExportOptions) -> PlanRequest:
    """Choose the plans to build; fails before any work if the product is missing.

    Raises:
        ConfigError: unknown target or settings.
        DependencyError: the product is not installed.
        EngineError: it does not load, or has a version that is not supported.
    """
    from advcal_edge.export.target import load_target, words

    settings = dict(options.settings)
    if options.precisions is not None:
        settings["precisions"] = ",".join(options.precisions)
    chosen = load_target(options.target, [Layer("options", settings)])
    build = chosen.options()
    product = choose_product(chosen.product, named=options.target is not None)
    listed = tuple(name for name, precision in PRECISIONS.items() if bundle.has(precision.graph))
    precisions = words(chosen.precisions) or listed or DEFAULT_PRECISIONS
    for name in precisions:
        choose("precision", name, PRECISIONS)
    return PlanRequest(product, precisions, chosen.gradient and options.gradient, build)


def choose_product(name: str, *, named: bool) -> Product:
    """The requested product; if a bare `--trt` finds only TensorRT-RTX, the error says how to use that.

    Raises:
        DependencyError: it is not installed.
        EngineError: it does not load, or has a version that is not supported.
    """
    try:
        return find_product(name)
    except DependencyError as error:
        if not named:
            with suppress(DependencyError, EngineError):
                other = find_product("tensorrt_rtx")
                error.hint = f"{error.hint}; or build with {other}, which is installed: `--for rtx`"
        raise


def add_plans(bundle: Bundle, request: PlanRequest, watch: Watch) -> tuple[tuple[BuiltPlan, ...], tuple[Missing, ...]]:
    """Build plans into the bundle; without the backward plan, attacks on the others use the backward graph.

    Raises:
        ExportError: no forward plan that was requested can be built.
    """
    from advcal_edge.export.tensorrt.build import find_device
    from advcal_edge.export.tensorrt.plans import build_plans

    device = find_device()
    watch.say(
        f"build  {bundle.path}  {request.product} on {device or 'a machine without a CUDA device'}"
        f"  batch {','.join(map(str, request.options.batch))}"
    )
    built: list[BuiltPlan] = []
    missing: list[Missing] = []
    for graph in request.graphs:
        if graph == BACKWARD_GRAPH and request.precisions and not built:
            break  # it would serve no plan
        try:
            bundle, plans = build_plans(
                bundle,
                request.product,
                [graph],
                request.options,
                report=lambda name: watch.say(f"building from {name}"),
            )
            built += plans
        except ExportError as error:
            if request.graphs == (graph,) and request.precisions:
                raise
            missing.append(Missing(graph, "vjp" if graph == BACKWARD_GRAPH else "forward", error, plan=True))
            watch.missing(missing[-1])
    if request.precisions and not built:
        raise missing[0].error
    if built:
        watch.plans(tuple(built))
    return tuple(built), tuple(missing)
