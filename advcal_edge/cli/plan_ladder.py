"""The ladder of plans: each step's graph is built into a plan on this device, and the plan itself is verified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.cli.graph_ladder import GraphLadder, ladder_text
from advcal_edge.cli.ladder import Ladder, Unchanged, climb
from advcal_edge.cli.plans import PlanRequest
from advcal_edge.runtime.metadata import metadata_path

if TYPE_CHECKING:
    from advcal_edge.export.fallback import Step


@dataclass(slots=True)
class PlanLadder:
    """One climb of one precision with a plan at each step; the graphs come from the ladder of graphs."""

    graphs: GraphLadder
    plans: PlanRequest
    graph: str | None = None
    """The graph of the last step that made one."""
    plan: str | None = None
    """The plan that lies in the bundle now."""

    def climb(self) -> Ladder:
        """Climb, and leave in the bundle graph and plan of this precision that passed, or neither."""
        from advcal_edge.export.fallback import STEPS

        ladder = climb(self.graphs.precision, STEPS, self.build, self.judge)
        if ladder.reached is None:
            self.graphs.take_out()
            self.take_out()
        self.graphs.console.result(ladder_text(ladder) + "\n")
        return ladder

    def build(self, step: Step) -> str | Unchanged:
        """Make the graph of a step, where the step is one of graphs, and a plan of it; the plan's name."""
        from advcal_edge.export.tensorrt.plans import build_plans

        if not step.plans_only:
            made = self.graphs.build(step)
            if isinstance(made, Unchanged):
                return made
            self.graph = made
        if self.graph is None:
            return Unchanged("there is no graph to build it from")
        console = self.graphs.console
        if step.plans_only:
            console.say(f"\n{self.graphs.precision}, step `{step.name}`: {step.what}")
        self.take_out()
        options = replace(self.plans.options, step=step.name, break_fusions=step.plans_only)
        _, (built,) = build_plans(
            Bundle.open(self.graphs.path),
            self.plans.product,
            [self.graph],
            options,
            report=lambda name: console.say(f"building from {name} with {self.plans.product}"),
        )
        self.plan = built.path
        return built.path

    def judge(self, engine: str, step: Step, ladder: Ladder) -> dict[str, Any]:
        """Verify a plan of the bundle; its report tells the climb so far."""
        return self.graphs.judge(engine, step, ladder)

    def take_out(self) -> None:
        """Leave no plan of the steps so far in the bundle."""
        if self.plan is not None:
            Bundle.open(self.graphs.path).remove((self.plan, metadata_path(Path(self.plan)).as_posix()))
            self.plan = None
