"""`advcal-edge export --until-parity`: what needs no ladder is exported first, then each precision climbs its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.request import Request
from advcal_edge.cli.victims import BACKWARD
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError, EngineError
from advcal_edge.runtime.backends.cuda import Cuda
from advcal_edge.runtime.engine import runnable_precisions

if TYPE_CHECKING:
    from advcal_edge.cli.ladder import Ladder
    from advcal_edge.cli.plans import PlanRequest
    from advcal_edge.export.result import ExportedGraph


def export_until_parity(
    bundle: Bundle,
    console: Console,
    names: tuple[str, ...],
    request: Request,
    *,
    gradient: bool,
    opset: int,
    plans: PlanRequest | None = None,
) -> int:
    """Export fp32 and the gradient as always, then climb the ladder of every other precision; the exit code.

    With `plans` each step is built into a plan on this machine, and the plan is verified.

    Raises:
        ConfigError: settings that cannot be honoured, or nothing to climb.
        EngineError: a precision that cannot be verified on this machine.
    """
    check(bundle, names, gradient, opset, plans)
    from advcal_edge.cli.export import run

    request.budget().check(len(bundle.centers().labels))  # what is wrong with them is said before any work
    plain = tuple(name for name in names if name == "fp32")
    made: list[ExportedGraph] = []
    if plain or gradient:
        bundle, result = run(bundle, console, plain, gradient=gradient, opset=opset, consent=request.consent)
        made += result.graphs
    if plans is not None and plans.only(plain).graphs:
        bundle, _ = plans.only(plain).build(bundle, console)  # the gradient first: every step is attacked with it
    ladders, climbed = climb_all(bundle, console, names, request, opset, plans)
    reached = all(ladder.reached is not None for ladder in ladders)
    document: dict[str, Any] = {
        "opset": opset,
        "graphs": [graph.to_json() for graph in (*made, *climbed)],
        "ladders": [ladder.to_json() for ladder in ladders],
    }
    console.document(document)
    console.next(f"advcal-edge {'bench' if reached and len(ladders) == 1 else 'verify'} {bundle.path}")
    return 0 if reached else 1


def climb_all(
    bundle: Bundle,
    console: Console,
    names: tuple[str, ...],
    request: Request,
    opset: int,
    plans: PlanRequest | None,
) -> tuple[list[Ladder], list[ExportedGraph]]:
    """Every precision's climb, in the order of the dialect, and the graphs that passed."""
    from advcal_edge.calibrate.deploy import module_from_bundle
    from advcal_edge.cli.graph_ladder import GraphLadder
    from advcal_edge.cli.plan_ladder import PlanLadder
    from advcal_edge.export.graph_maker import GraphMaker
    from advcal_edge.precision import PRECISIONS

    ladders, graphs = [], []
    with bundle.staging() as folder:
        maker = GraphMaker(module_from_bundle(bundle, request.consent), bundle, folder, opset)
        for precision in PRECISIONS:
            if precision == "fp32" or precision not in names:
                continue
            one = GraphLadder(bundle.path, console, maker, precision, request)
            ladders.append(one.climb() if plans is None else PlanLadder(one, plans).climb())
            graphs += [one.made] if one.made is not None else []
    return ladders, graphs


def check(bundle: Bundle, names: tuple[str, ...], gradient: bool, opset: int, plans: PlanRequest | None = None) -> None:
    """Refuse what no climb could end well with, before any work.

    Raises:
        ConfigError: an unknown precision or opset, fp32 alone, or no gradient.
        EngineError: bf16, which ONNX Runtime cannot run on a CPU; plans on a machine that cannot run them.
    """
    from advcal_edge.export.graphs import check_dependencies, choose_graphs
    from advcal_edge.export.opset import check_opset

    choose_graphs(names, gradient)
    check_opset(opset, names)
    check_dependencies()
    if set(names) == {"fp32"}:
        raise ConfigError(
            "`--until-parity` and `--precision fp32`: fp32 has nothing to give back",
            hint="ask for another precision, like `--precision fp16`",
        )
    if not gradient and not bundle.has(BACKWARD):
        raise ConfigError(
            "`--until-parity` and `--no-gradient` exclude each other: no verdict passes without the gradient",
            hint="leave out `--no-gradient`",
        )
    if plans is not None:
        Cuda()  # says why a plan could not be verified here
        return
    for name in names:
        if name not in runnable_precisions():
            raise EngineError(
                f"`--until-parity` verifies each graph on this machine, and {name} needs a GPU: onnxruntime has no"
                " bfloat16 products on a CPU",
                hint="on the device: " + command("export", bundle.path, "--trt", "--precision", name, "--until-parity"),
            )
