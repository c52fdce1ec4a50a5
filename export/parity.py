"""Search for parity: verify an engine of reduced precision, and keep more of it in fp32 until it passes.

The steps, from the cheapest to the most expensive, are data in `export.fallback`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError, EngineError, FidelityError
from advcal_edge.export.fallback import STEPS, Step, graph_steps
from advcal_edge.export.graphs import add_graphs, check_dependencies, choose_graphs, remove_graph
from advcal_edge.export.opset import check_opset
from advcal_edge.export.result import ExportedGraph, ExportResult, Missing
from advcal_edge.export.run import ExportOptions, PlanRequest, Watch, add_forward, add_plans, open_module
from advcal_edge.precision import PRECISIONS
from advcal_edge.report.nodes import NodeRanking
from advcal_edge.runtime.backends.cuda import Cuda
from advcal_edge.runtime.engine import runnable_precisions
from advcal_edge.runtime.metadata import metadata_path
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.report import Report
from advcal_edge.verify.run import verify

if TYPE_CHECKING:
    from advcal_edge.export.graph_maker import GraphMaker
    from advcal_edge.export.node_search import NodeSearch


@dataclass(frozen=True, slots=True)
class Attempt:
    """Result of one step: the engine's hash, None if there was nothing to verify, and the verdict with reasons.

    The verdict is that of the report, also `fail` for an engine that does not compute the same as the module, or
    `skipped` for a step that changes nothing.
    """

    step: str
    engine: str | None
    verdict: str
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {"step": self.step, "engine": self.engine, "verdict": self.verdict, "reasons": list(self.reasons)}


@dataclass(frozen=True, slots=True)
class Search:
    """A search so far: the precision requested, every attempt, and the step that passed, if any."""

    asked: str
    attempts: tuple[Attempt, ...] = ()
    reached: Step | None = None
    ranking: NodeRanking | None = None
    """Of the matrix products, in a search that keeps single ones in fp32."""
    closest: str | None = None
    """In such a search without a step that passed, the step that came closest."""

    def after(self, step: Step, engine: str | None, verdict: str, reasons: Sequence[str]) -> Search:
        """The search with one more attempt."""
        attempts = (*self.attempts, Attempt(step.name, engine, verdict, tuple(reasons)))
        return replace(self, attempts=attempts, reached=step if verdict == "pass" else None)

    def to_json(self) -> dict[str, Any]:
        """Plain types for the report."""
        return {
            "asked": self.asked,
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "reached": None if self.reached is None else self.reached.name,
            **({} if self.ranking is None else self.of_nodes(self.reached, self.ranking)),
        }

    def of_nodes(self, step: Step | None, ranking: NodeRanking) -> dict[str, Any]:
        """What a search among nodes adds: nodes that a step keeps in fp32, the ranking, `closest` if none passed."""
        closest = {} if step is not None else {"closest": self.closest}
        return {"kept": [] if step is None else list(step.nodes), "ranking": ranking.to_json(), **closest}


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A step whose engine was already built at an earlier step, and the reason."""

    why: str


Build = Callable[[Step], str | Unchanged]
"""Builds the engine of a step and returns its name in the bundle."""

Judge = Callable[[str, Step, Search], Mapping[str, Any]]
"""Verifies an engine, built at a step after a search so far; returns hash, verdict and reasons."""


def search(asked: str, steps: Sequence[Step], build: Build, judge: Judge) -> Search:
    """Build and verify step by step until one passes; an inconclusive verdict does not pass.

    Raises:
        ExportError: an engine that cannot be built. One that is built but broken is a failed attempt.
    """
    result = Search(asked)
    for step in steps:
        result = attempt(result, step, build, judge)
        if result.reached is not None:
            break
    return result


def attempt(so_far: Search, step: Step, build: Build, judge: Judge) -> Search:
    """The search with one more step built and verified.

    Raises:
        ExportError: an engine that cannot be built. One that is built but broken is a failed attempt.
    """
    try:
        engine = build(step)
    except FidelityError as error:
        return so_far.after(step, None, "fail", (error.message,))
    if isinstance(engine, Unchanged):
        return so_far.after(step, None, "skipped", (engine.why,))
    judged = judge(engine, step, so_far)
    return so_far.after(step, judged["sha256"], judged["verdict"], judged["reasons"])


def export_until_parity(
    bundle: Bundle,
    precisions: tuple[str, ...],
    verification: VerifyOptions,
    options: ExportOptions,
    plans: PlanRequest | None,
    watch: Watch,
) -> ExportResult:
    """Export fp32 and the gradient as usual, then search for parity in each other precision.

    With `plans` the graph of each step is built into a plan on this machine, and the plan is verified.

    Raises:
        ConfigError: options that cannot be honoured, or nothing to search.
        EngineError: a precision that cannot be verified on this machine.
    """
    check_search(bundle, precisions, options, plans)
    verification.budget().check(len(bundle.centers().labels))  # errors come before any work
    plain = tuple(name for name in precisions if name == "fp32")
    made = ExportResult(options.opset, ())
    if plain or options.gradient:
        made = add_forward(bundle, plain, options.gradient, options, watch)
    unbuilt: tuple[Missing, ...] = ()
    request = None if plans is None else plans.only(plain).without(made.missing)
    if request is not None and request.graphs:
        _, unbuilt = add_plans(Bundle.open(bundle.path), request, watch)  # every step is attacked with the gradient
    searches, graphs = [], list(made.graphs)
    with bundle.staging() as folder:
        from advcal_edge.export.graph_maker import GraphMaker

        maker = GraphMaker(open_module(bundle, options.consent), bundle, folder, options.opset)
        for precision in PRECISIONS:
            if precision == "fp32" or precision not in precisions:
                continue
            one = GraphSearch(bundle.path, maker, precision, verification, watch)
            searches.append(choose_search(one, options, plans).run())
            graphs += [one.made] if one.made is not None else []
    return ExportResult(options.opset, tuple(graphs), searches=tuple(searches), missing=(*made.missing, *unbuilt))


def check_search(
    bundle: Bundle, precisions: tuple[str, ...], options: ExportOptions, plans: PlanRequest | None
) -> None:
    """Refuse, before any work, options with which no search could succeed.

    Raises:
        ConfigError: an unknown precision or opset, or fp32 alone.
        EngineError: bf16, which ONNX Runtime cannot run on a CPU; plans on a machine that cannot run them.
    """
    choose_graphs(precisions, options.gradient)
    check_opset(options.opset, precisions)
    check_dependencies()
    if set(precisions) == {"fp32"}:
        raise ConfigError(
            "`--until-parity` and `--precision fp32`: fp32 has nothing to give back",
            hint="ask for another precision, like `--precision fp16`",
        )
    if plans is not None:
        Cuda()  # raises if a plan cannot be verified here
        return
    for name in precisions:
        if name not in runnable_precisions():
            raise EngineError(
                f"`--until-parity` verifies each graph on this machine, and {name} needs a GPU: onnxruntime has no"
                " bfloat16 products on a CPU",
                hint="on the device: " + command("export", bundle.path, "--trt", "--precision", name, "--until-parity"),
            )


def choose_search(
    graphs: GraphSearch, options: ExportOptions, plans: PlanRequest | None
) -> GraphSearch | PlanSearch | NodeSearch:
    """The search that was asked for."""
    if options.search == "nodes":
        from advcal_edge.export.node_search import NodeSearch

        return NodeSearch(graphs)
    return graphs if plans is None else PlanSearch(graphs, plans)


@dataclass(slots=True)
class GraphSearch:
    """The search of one precision among ONNX graphs: each is added to the bundle at `path` and verified there."""

    path: Path
    maker: GraphMaker
    precision: str
    options: VerifyOptions
    watch: Watch
    made: ExportedGraph | None = None
    """The graph that is in the bundle now."""
    reduced: list[frozenset[str]] = field(default_factory=list)
    """Products in reduced precision at each step built so far."""

    def run(self) -> Search:
        """Search, and keep in the bundle the graph of this precision that passed, or none."""
        result = search(self.precision, graph_steps(), self.build, self.judge)
        if result.reached is None:
            self.remove()
        self.watch.search(result)
        return result

    def build(self, step: Step) -> str | Unchanged:
        """Make the graph of a step and add it to the bundle in place of the previous one; returns its name there."""
        precision = self.precision
        if step.fp32:
            self.remove()
            precision = "fp32"
        else:
            reduced = self.maker.reduced(precision, step)
            if reduced in self.reduced:
                return Unchanged("it changes nothing in this graph")
            if not reduced and self.reduced:
                return Unchanged(f"it leaves nothing in {precision}")
            self.reduced.append(reduced)
        self.watch.say(f"\n{self.precision}, step `{step.name}`: {step.what}")
        graph = self.maker.make("forward", precision, step)
        self.made = graph
        self.watch.say(f"{graph.path} against torch: {graph.closeness}")
        add_graphs(Bundle.open(self.path), self.maker.folder, ExportResult(self.maker.opset, (graph,)))
        return graph.path

    def judge(self, engine: str, step: Step, so_far: Search) -> dict[str, Any]:
        """Verify an engine of the bundle; its report includes the search so far."""

        def add_search(report: Report) -> Report:
            return report.with_fallback(so_far.asked, so_far.to_json()["attempts"])

        watch = replace(self.watch.verification, amend=add_search)
        (report,) = verify(Bundle.open(self.path), replace(self.options, engine=engine), watch=watch)
        return {"sha256": report.engine["sha256"], "verdict": report.verdict, "reasons": report.reasons}

    def remove(self) -> None:
        """Remove the graph of this precision from the bundle."""
        self.made = None
        remove_graph(Bundle.open(self.path), PRECISIONS[self.precision].graph)


@dataclass(slots=True)
class PlanSearch:
    """The search of one precision among plans: a plan is built from each step's graph and verified on this device."""

    graphs: GraphSearch
    plans: PlanRequest
    graph: str | None = None
    """The graph of the last step that made one."""
    plan: str | None = None
    """The plan that is in the bundle now."""

    def run(self) -> Search:
        """Search, and keep in the bundle graph and plan of this precision that passed, or neither."""
        result = search(self.graphs.precision, STEPS, self.build, self.graphs.judge)
        if result.reached is None:
            self.graphs.remove()
            self.remove()
        self.graphs.watch.search(result)
        return result

    def build(self, step: Step) -> str | Unchanged:
        """Make the graph of a step, if the step changes the graph, and a plan of it; returns the plan's name."""
        from advcal_edge.export.tensorrt.plans import build_plans

        if not step.plans_only:
            made = self.graphs.build(step)
            if isinstance(made, Unchanged):
                return made
            self.graph = made
        if self.graph is None:
            return Unchanged("there is no graph to build it from")
        say = self.graphs.watch.say
        if step.plans_only:
            say(f"\n{self.graphs.precision}, step `{step.name}`: {step.what}")
        self.remove()
        _, (built,) = build_plans(
            Bundle.open(self.graphs.path),
            self.plans.product,
            [self.graph],
            replace(self.plans.options, step=step.name, break_fusions=step.plans_only),
            report=lambda name: say(f"building from {name} with {self.plans.product}"),
        )
        self.plan = built.path
        return built.path

    def remove(self) -> None:
        """Remove the plans of the steps so far from the bundle."""
        if self.plan is not None:
            Bundle.open(self.graphs.path).remove((self.plan, metadata_path(Path(self.plan)).as_posix()))
            self.plan = None
