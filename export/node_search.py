"""Search for the smallest set of matrix products to keep in fp32, among those that cost most robustness.

The graph as built is verified first. If it does not pass, its products are ranked (`export.node_ranking`), and graphs
that keep the first k of the ranking in fp32 are verified: k = 1, 2, 4 ... until one passes, then a binary search back.
The prefix that is found passed, and the one that is a product shorter did not. It is the smallest prefix that passes if
keeping more in fp32 never loses parity; no shorter one was skipped on any other ground. Last, products of a short
prefix are left out one by one, where that adds no flip on the inputs of the ranking, and verified again.

For n products this takes at most 1 + 2 log2(n) + `DROPS` verifications.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.errors import NothingReducedError
from advcal_edge.export.fallback import STEPS, Step, node_step
from advcal_edge.export.flip_inputs import FlipInputs, craft_inputs
from advcal_edge.export.graph_file import graph_files
from advcal_edge.export.graphs import add_graphs
from advcal_edge.export.node_ranking import NodeTrials, rank_nodes
from advcal_edge.export.parity import GraphSearch, Search, Unchanged, attempt
from advcal_edge.export.result import ExportedGraph, ExportResult
from advcal_edge.report.nodes import NodeRanking
from advcal_edge.verify.models import open_reference
from advcal_edge.verify.outcome import write_report
from advcal_edge.verify.report import Report
from advcal_edge.verify.run import verify

DROPS = 4
"""The longest prefix from which single products are left out again; each costs a verification."""


@dataclass(frozen=True, slots=True)
class Passed:
    """An engine that passed: its graph, of which a copy is kept while smaller sets are tried, and its report."""

    step: Step
    graph: ExportedGraph
    report: Report


@dataclass(slots=True)
class NodeSearch:
    """The search of one precision for products to keep in fp32; `graphs` builds in the bundle and removes from it."""

    graphs: GraphSearch
    result: Search = field(init=False)
    passed: Passed | None = None
    """Of the engines that passed, the last, which keeps the fewest products."""
    report: Report | None = None
    """Of the engine verified last."""
    closest: tuple[bool, float, str] | None = None
    """Of the engines that did not pass, the closest: did it fail or was it inconclusive, its largest drop, its step."""

    def __post_init__(self) -> None:
        self.result = Search(self.graphs.precision)

    def run(self) -> Search:
        """Search, and keep in the bundle the graph that passed with the fewest products in fp32, or none."""
        if not self.attempt(STEPS[0]):
            folder = self.graphs.maker.folder / "ranking"
            folder.mkdir(exist_ok=True)
            trials = NodeTrials(self.graphs.maker, self.graphs.precision, folder)
            bundle = Bundle.open(self.graphs.path)
            self.say(f"\nranking {len(trials.products)} matrix products by what each costs in {trials.precision}")
            options = self.graphs.options
            reference = open_reference(bundle, options.reference, options.consent, options.device, options.gradient)
            engine = trials.engine(bundle, reference, options.gradient)
            inputs = craft_inputs(bundle, reference, engine, options)
            ranking = rank_nodes(trials, inputs)
            self.say(
                f"built {ranking.builds} graphs and compared each on {ranking.inputs} inputs;"
                f" {ranking.flips} of them flip"
            )
            self.result = replace(self.result, ranking=ranking)
            names = ranking.names  # without the last of them the graph would be fp32
            shortest_passing(len(names) - 1, lambda size: self.attempt(prefix(names, size)))
            self.drop(trials, inputs)
        self.finish()
        self.graphs.watch.search(self.result)
        return self.result

    def drop(self, trials: NodeTrials, inputs: FlipInputs) -> None:
        """Leave products out of a short prefix, the cheapest first, as long as the rest passes.

        The last of the prefix is needed: the prefix without it did not pass. So only those before it are tried.
        """
        if self.passed is None or not 1 < len(self.passed.step.nodes) <= DROPS:
            return
        prefix_name, everyone = self.passed.step.name, self.passed.step.nodes
        for name in reversed(everyone[:-1]):
            kept = self.passed.step.nodes
            rest = tuple(other for other in kept if other != name)
            before, after = (inputs.flipped(trials.margins(inputs, nodes)).sum() for nodes in (kept, rest))
            if after <= before:
                left_out = [place for place, other in enumerate(everyone, 1) if other not in rest]
                self.attempt(node_step(f"{prefix_name} without {','.join(map(str, left_out))}", rest))

    def attempt(self, step: Step) -> bool:
        """Build and verify one step; whether it passed."""
        tried = attempt(self.result, step, self.build, self.judge)
        self.result = replace(tried, reached=tried.reached or self.result.reached)
        graph, report = self.graphs.made, self.report
        if tried.reached is None or graph is None or report is None:
            return False
        self.passed = Passed(step, graph, report)
        if step.nodes:  # else nothing is tried after it
            self.set_aside(graph)
        return True

    def build(self, step: Step) -> str | Unchanged:
        """Build the graph of a step into the bundle; returns its name there."""
        try:
            return self.graphs.build(step)
        except NothingReducedError as error:
            return Unchanged(error.message)

    def judge(self, engine: str, step: Step, so_far: Search) -> dict[str, Any]:
        """Verify the engine of a step; its report includes the search so far."""

        def add_search(report: Report) -> Report:
            self.report = amend(report, step, so_far)
            return self.report

        watch = replace(self.graphs.watch.verification, amend=add_search)
        options = replace(self.graphs.options, engine=engine)
        (report,) = verify(Bundle.open(self.graphs.path), options, watch=watch)
        if report.verdict != "pass":
            drops = [item["drop"] for item in report.derived["comparisons"] if item["decides"]]
            found = report.verdict == "fail", max(drops), step.name
            self.closest = found if self.closest is None else min(found, self.closest)
        return {"sha256": report.engine["sha256"], "verdict": report.verdict, "reasons": report.reasons}

    def finish(self) -> None:
        """Leave in the bundle the graph that passed with the report of the whole search, or no graph."""
        if self.passed is None:
            self.graphs.remove()
            self.result = replace(self.result, closest=None if self.closest is None else self.closest[-1])
            return
        if self.graphs.made is not self.passed.graph:
            graph = self.passed.graph
            add_graphs(Bundle.open(self.graphs.path), self.aside, ExportResult(self.graphs.maker.opset, (graph,)))
            self.graphs.made = graph
        report = amend(self.passed.report, self.passed.step, self.result)
        if report.measured != self.passed.report.measured:
            write_report(Bundle.open(self.graphs.path), report)

    def set_aside(self, graph: ExportedGraph) -> None:
        """Copy a graph out of the bundle, in which the next attempt replaces it."""
        self.aside.mkdir(exist_ok=True)
        for file in graph_files(self.graphs.path / graph.path):
            shutil.copyfile(file, self.aside / file.name)

    @property
    def aside(self) -> Path:
        """Folder for the graph that passed."""
        return self.graphs.maker.folder / "passed"

    def say(self, line: str) -> None:
        """A line about the current step."""
        self.graphs.watch.say(line)


def shortest_passing(most: int, passes: Callable[[int], bool]) -> int | None:
    """The smallest number from 1 to `most` that passes, if all above it pass too; None if none does.

    Doubles until one passes, then halves the gap to the largest that did not. Asks about no number twice, and about at
    most 2 log2(most) + 1 of them.
    """
    failed, size = 0, 1
    while size <= most and not passes(size):
        failed, size = size, (most if size < most < 2 * size else 2 * size)
    if size > most:
        return None
    while size - failed > 1:
        middle = (failed + size) // 2
        if passes(middle):
            size = middle
        else:
            failed = middle
    return size


def prefix(names: Sequence[str], size: int) -> Step:
    """The step that keeps the first `size` products of a ranking in fp32."""
    return node_step(f"nodes:{size}", names[:size])


def amend(report: Report, step: Step, result: Search) -> Report:
    """A report with the steps of a search that did not pass, and what the ranking was if there is one by then."""
    earlier = [item.to_json() for item in result.attempts if item.verdict != "pass"]
    ranking: NodeRanking | None = result.ranking
    return report.with_fallback(result.asked, earlier, step.nodes, ranking)
