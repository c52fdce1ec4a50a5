"""Which engine of a bundle runs: the one that was named, or the best that a passing report speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.runtime.approval import has_passed
from advcal_edge.runtime.cuda import Cuda
from advcal_edge.runtime.engine_file import graph_digest, weights_beside
from advcal_edge.runtime.plan_card import Device, PlanCard, card_path, is_plan, read_card
from advcal_edge.runtime.products import find_product
from advcal_edge.runtime.runners import CUDA, offered_providers

FASTEST_FIRST = ("int8", "fp16", "fp32")
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
CPU_PRECISIONS = ("fp32", "fp16", "int8", "fp8")
"""What ONNX Runtime runs on a CPU; fp8 is simulated there, and slower than fp32."""


def choose_engine(bundle: Bundle, name: str) -> Path:
    """Path of the engine that `name` stands for: `auto`, a precision, a name in the bundle or a path.

    `auto` is, among those with a passing report, a plan that runs on this device, else the fastest graph by convention
    (int8, fp16, fp32); without any report the fp32 graph.

    Raises:
        EngineError: no such graph.
        BundleError: a file of the bundle was changed.
    """
    if name == "auto":
        return choose_plan(bundle) or choose_verified(bundle) or listed_engine(bundle, graph_name("fp32"))
    if name in PRECISIONS:
        return listed_engine(bundle, graph_name(name))
    if bundle.has(name):
        return listed_engine(bundle, name)
    path = Path(name)
    if not path.is_file():
        raise EngineError(
            f"engine `{name}` is neither `auto`, {', '.join(f'`{p}`' for p in PRECISIONS)} nor a file",
            hint=f"graphs in `{bundle.path}`: {', '.join(graphs(bundle)) or 'none'}",
        )
    if path.resolve().is_relative_to(bundle.path.resolve()):
        inner = path.resolve().relative_to(bundle.path.resolve()).as_posix()
        if bundle.has(inner):
            return listed_engine(bundle, inner)
    return path


def choose_verified(bundle: Bundle) -> Path | None:
    """Path of the fastest graph by convention that has a passing report."""
    for precision in FASTEST_FIRST:
        if bundle.has(graph_name(precision)):
            path = listed_engine(bundle, graph_name(precision))
            if has_passed(bundle, graph_digest(path)):
                return path
    return None


def choose_plan(bundle: Bundle) -> Path | None:
    """Path of the fastest plan by convention that has a passing report and whose card fits this machine."""
    verified = [
        (card.precision, name)
        for name, card in plan_cards(bundle).items()
        if card.kind == "forward" and has_passed(bundle, card.sha256)
    ]  # the reports are asked first: to ask the device takes a driver
    order = sorted(
        verified, key=lambda item: (FASTEST_FIRST.index(item[0]) if item[0] in FASTEST_FIRST else 0, item[1])
    )
    return next((listed_engine(bundle, name) for _, name in order if fits_here(plan_cards(bundle)[name])), None)


def plan_cards(bundle: Bundle) -> Mapping[str, PlanCard]:
    """The card of each plan in the bundle, by the plan's name.

    Raises:
        BundleError: a card was changed.
        EngineError: a card cannot be read.
    """
    names = [name for name in bundle.manifest["files"] if name.startswith("engines/") and is_plan(Path(name))]
    found = {}
    for name in names:
        told = card_path(Path(name)).as_posix()
        card = read_card(bundle.file(told).with_suffix(Path(name).suffix)) if bundle.has(told) else None
        if card is not None:
            found[name] = card
    return found


def fits_here(card: PlanCard) -> bool:
    """Whether product and device of this machine are those a plan was built for."""
    try:
        cuda = Cuda()
        device = Device(cuda.device_name(), cuda.compute_capability())
        return card.misfit(find_product(card.product), device) is None
    except (DependencyError, EngineError):
        return False


def runs_here(card: PlanCard) -> bool:
    """Whether this is a forward plan for this machine."""
    return card.kind == "forward" and fits_here(card)


def runnable_precisions() -> tuple[str, ...]:
    """Precisions of graphs that ONNX Runtime may run on this machine."""
    return PRECISIONS if CUDA in offered_providers() else CPU_PRECISIONS


def choose_providers(bundle: Bundle, path: Path) -> tuple[str, ...]:
    """Where ONNX Runtime runs a graph: where a passing report saw it run, then CUDA before the CPU; none for a plan."""
    if is_plan(path):
        return ()
    digest = graph_digest(path)
    return tuple(sorted(offered_providers(), key=lambda name: not has_passed(bundle, digest, name)))


def listed_engine(bundle: Bundle, name: str) -> Path:
    """Path of a graph the manifest lists, its hash and that of its weights checked.

    Raises:
        EngineError: not listed.
        BundleError: missing or changed.
    """
    if not bundle.has(name):
        raise EngineError(
            f"bundle `{bundle.path}` has no graph `{name}`; it has {', '.join(graphs(bundle)) or 'none'}",
            hint=f"export it: `advcal-edge export {bundle.path}{unusual(name)}`",
        )
    path = bundle.file(name)
    weights = weights_beside(Path(name)).as_posix()
    if bundle.has(weights):
        bundle.file(weights)
    return path


def unusual(name: str) -> str:
    """The option that exports a graph which no export writes unasked."""
    return next((f" --precision {p}" for p in PRECISIONS if name == graph_name(p) and p not in FASTEST_FIRST), "")


def graphs(bundle: Bundle) -> list[str]:
    """Names of the forward graphs that the manifest lists."""
    return [n for n in bundle.manifest["files"] if n.startswith("onnx/forward.") and n.endswith(".onnx")]


def graph_name(precision: str) -> str:
    """Where a bundle keeps its forward graph of `precision`."""
    return f"onnx/forward.{precision}.onnx"
