"""Which engine of a bundle runs: the one that was named, or the best that a passing report speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.limits import ENGINE_BYTES
from advcal_edge.runtime.approval import Approval, find_approval
from advcal_edge.runtime.engine_file import EngineFile, combine, is_plan, weights_beside
from advcal_edge.runtime.runners import CUDA, offered_providers

if TYPE_CHECKING:
    from advcal_edge.runtime.plan_card import PlanCard

FASTEST_FIRST = ("int8", "fp16", "fp32")
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
CPU_PRECISIONS = ("fp32", "fp16", "int8", "fp8")
"""What ONNX Runtime runs on a CPU; fp8 is simulated there, and slower than fp32."""


def choose_engine(bundle: Bundle, name: str) -> Path:
    """Path of the engine that `name` stands for: `auto`, a precision, a name in the bundle or a path.

    `auto` is, among those with a passing report, a plan that runs on this device, else the fastest graph by convention
    (int8, fp16, fp32); without any report the fp32 graph. Nothing is read of an engine here: `read_engine` does it, and
    holds what it reads against the hash by which it was chosen.

    Raises:
        EngineError: no such engine.
        BundleError: a report or a card of a plan was changed.
    """
    if name == "auto":
        return choose_plan(bundle) or choose_verified(bundle) or listed_path(bundle, graph_name("fp32"))
    if name in PRECISIONS:
        return listed_path(bundle, graph_name(name))
    if bundle.has(name):
        return listed_path(bundle, name)
    path = Path(name)
    if not path.is_file():
        raise EngineError(
            f"engine `{name}` is neither `auto`, {', '.join(f'`{p}`' for p in PRECISIONS)} nor a file",
            hint=f"graphs in `{bundle.path}`: {', '.join(graphs(bundle)) or 'none'}",
        )
    return path


def choose_verified(bundle: Bundle) -> Path | None:
    """Path of the fastest graph by convention that has a passing report."""
    for precision in FASTEST_FIRST:
        name = graph_name(precision)
        if bundle.has(name) and find_approval(bundle, listed_digest(bundle, name)):
            return listed_path(bundle, name)
    return None


def choose_plan(bundle: Bundle) -> Path | None:
    """Path of the fastest plan by convention that has a passing report and whose card fits this machine."""
    cards = plan_cards(bundle)
    verified = [
        (card.precision, name)
        for name, card in cards.items()
        if card.kind == "forward" and find_approval(bundle, card.sha256)
    ]  # the reports are asked first: to ask the device takes a driver
    order = sorted(
        verified, key=lambda item: (FASTEST_FIRST.index(item[0]) if item[0] in FASTEST_FIRST else 0, item[1])
    )
    return next((listed_path(bundle, name) for _, name in order if fits_here(cards[name])), None)


def plan_cards(bundle: Bundle) -> Mapping[str, PlanCard]:
    """The card of each plan in the bundle, by the plan's name.

    Raises:
        BundleError: a card was changed.
        EngineError: a card cannot be read.
    """
    names = [name for name in bundle.manifest["files"] if name.startswith("engines/") and is_plan(Path(name))]
    if not names:
        return {}
    from advcal_edge.runtime.plan_card import card_path, read_card

    found = {}
    for name in names:
        told = card_path(Path(name)).as_posix()
        card = read_card(bundle.file(told).with_suffix(Path(name).suffix)) if bundle.has(told) else None
        if card is not None:
            found[name] = card
    return found


def fits_here(card: PlanCard) -> bool:
    """Whether product and device of this machine are those a plan was built for."""
    from advcal_edge.runtime.cuda import Cuda
    from advcal_edge.runtime.plan_card import Device
    from advcal_edge.runtime.products import find_product

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


def choose_providers(path: Path, approval: Approval | None) -> tuple[str, ...]:
    """Where ONNX Runtime runs a graph: where a passing report saw it run, then CUDA before the CPU; none for a plan."""
    if is_plan(path):
        return ()
    return tuple(sorted(offered_providers(), key=lambda name: approval is None or not approval.covers(name)))


def read_engine(bundle: Bundle, path: Path) -> EngineFile:
    """An engine read once, and held against the manifest where it is a file of the bundle.

    Raises:
        BundleError: missing or changed.
        EngineError: a file elsewhere that cannot be read.
    """
    name = listed_name(bundle, path)
    return EngineFile.of(path) if name is None else read_listed(bundle, name)


def read_listed(bundle: Bundle, name: str) -> EngineFile:
    """An engine of the bundle, read once and held against the manifest; weights that nobody listed are not read.

    Raises:
        EngineError: not listed.
        BundleError: missing or changed.
    """
    path, beside = listed_path(bundle, name), weights_name(name)
    data = bundle.read(name, ENGINE_BYTES)
    weights = bundle.read(beside, ENGINE_BYTES) if bundle.has(beside) else None
    return EngineFile(path, data, weights, listed_digest(bundle, name))


def listed_name(bundle: Bundle, path: Path) -> str | None:
    """Name under which the manifest lists a file, by whatever way `path` reaches it; None where it does not."""
    name = path.relative_to(bundle.path).as_posix() if path.is_relative_to(bundle.path) else ""
    if bundle.has(name):
        return name
    return next((other for other in bundle.manifest["files"] if same_file(path, bundle.path / other)), None)


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths reach the same file, which is there."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def listed_digest(bundle: Bundle, name: str) -> str:
    """What `graph_digest` gives for a listed engine that nobody changed, from the manifest alone."""
    files = bundle.manifest["files"]
    beside = files.get(weights_name(name))
    digest: str = files[name]["sha256"]
    return digest if beside is None else combine(digest, beside["sha256"])


def weights_name(name: str) -> str:
    """Name of the weights beside a graph of the bundle."""
    return weights_beside(Path(name)).as_posix()


def listed_engine(bundle: Bundle, name: str) -> Path:
    """Path of a graph the manifest lists, its hash and that of its weights checked, for what reads files by itself.

    Raises:
        EngineError: not listed.
        BundleError: missing or changed.
    """
    path = listed_path(bundle, name)
    bundle.file(name)
    if bundle.has(weights_name(name)):
        bundle.file(weights_name(name))
    return path


def listed_path(bundle: Bundle, name: str) -> Path:
    """Path of an engine the manifest lists.

    Raises:
        EngineError: not listed.
    """
    if not bundle.has(name):
        raise EngineError(
            f"bundle `{bundle.path}` has no graph `{name}`; it has {', '.join(graphs(bundle)) or 'none'}",
            hint=f"export it: `{command('export', bundle.path, *unusual(name))}`",
        )
    return bundle.path / name


def unusual(name: str) -> tuple[str, ...]:
    """The words that export a graph which no export writes unasked."""
    return next((("--precision", p) for p in PRECISIONS if name == graph_name(p) and p not in FASTEST_FIRST), ())


def graphs(bundle: Bundle) -> list[str]:
    """Names of the forward graphs that the manifest lists."""
    return [n for n in bundle.manifest["files"] if n.startswith("onnx/forward.") and n.endswith(".onnx")]


def graph_name(precision: str) -> str:
    """Where a bundle keeps its forward graph of `precision`."""
    return f"onnx/forward.{precision}.onnx"
