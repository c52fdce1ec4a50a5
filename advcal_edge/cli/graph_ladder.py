"""The ladder of ONNX graphs: each step is added to the bundle, verified there as always, and replaced by the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.export import closeness
from advcal_edge.cli.ladder import Ladder, Unchanged, climb
from advcal_edge.cli.request import Request
from advcal_edge.cli.verify import run as verify
from advcal_edge.precision import PRECISIONS
from advcal_edge.report.table import one_line, table, wrapped

if TYPE_CHECKING:
    from advcal_edge.export.fallback import Step
    from advcal_edge.export.graph_maker import GraphMaker
    from advcal_edge.export.result import ExportedGraph
    from advcal_edge.verify import Report


@dataclass(slots=True)
class GraphLadder:
    """One climb of one precision: builds its steps into the bundle at `path` and has them verified there."""

    path: Path
    console: Console
    maker: GraphMaker
    precision: str
    request: Request
    made: ExportedGraph | None = None
    """The graph that lies in the bundle now."""
    reduced: list[frozenset[str]] = field(default_factory=list)
    """Products in reduced precision at each step that was built."""

    def climb(self) -> Ladder:
        """Climb, and leave in the bundle the graph of this precision that passed, or none."""
        from advcal_edge.export.fallback import graph_steps

        ladder = climb(self.precision, graph_steps(), self.build, self.judge)
        if ladder.reached is None:
            self.take_out()
        self.console.result(ladder_text(ladder) + "\n")
        return ladder

    def build(self, step: Step) -> str | Unchanged:
        """Make the graph of a step and add it to the bundle, in the place of the one before; its name there."""
        from advcal_edge.export.graphs import add_graphs
        from advcal_edge.export.result import ExportResult

        precision = self.precision
        if step.fp32:
            self.take_out()
            precision = "fp32"
        else:
            reduced = self.maker.reduced(precision, step)
            if reduced in self.reduced:
                return Unchanged("it changes nothing in this graph")
            if not reduced and self.reduced:
                return Unchanged(f"it leaves nothing in {precision}")
            self.reduced.append(reduced)
        self.console.say(f"\n{self.precision}, step `{step.name}`: {step.what}")
        graph = self.maker.make("forward", precision, step)
        self.made = graph
        self.console.say(f"{graph.path} against torch: {closeness(graph.fidelity)}")
        add_graphs(Bundle.open(self.path), self.maker.folder, ExportResult(self.maker.opset, (graph,)))
        return graph.path

    def judge(self, engine: str, step: Step, ladder: Ladder) -> dict[str, Any]:
        """Verify a graph of the bundle; its report tells the climb so far."""

        def told(report: Report) -> Report:
            found = ladder.after(step, report.engine["sha256"], report.verdict, report.reasons)
            return report.climbed(found.to_json())

        _, (document,) = verify(
            Bundle.open(self.path), self.console, replace(self.request, engine=engine), finishing=told
        )
        return document

    def take_out(self) -> None:
        """Leave no graph of this precision in the bundle."""
        from advcal_edge.export.graphs import remove_graph

        self.made = None
        remove_graph(Bundle.open(self.path), PRECISIONS[self.precision].graph)


def ladder_text(ladder: Ladder) -> str:
    """Every attempt in a row, and what came of the climb in words."""
    rows = [(item.step, (item.engine or "-")[:8], item.verdict.upper()) for item in ladder.attempts]
    blocks = [table((f"{ladder.asked} at step", "engine", "verdict"), rows)]
    why = [wrapped(f"  {item.step}  ", reason) for item in ladder.attempts for reason in item.reasons]
    return "\n".join([*blocks, *why, wrapped("", outcome(ladder))])


def outcome(ladder: Ladder) -> str:
    """What a climb ends with, in one sentence."""
    asked, reached = ladder.asked, ladder.reached
    if reached is None:
        return f"no step of {asked} is on a par with its reference: the bundle holds no {asked} graph"
    if reached.fp32:
        return f"{asked} was not reached: what passes is the fp32 graph, and the bundle holds no {asked} graph"
    return one_line(f"{asked} passes at step `{reached.name}`: {reached.what}")
