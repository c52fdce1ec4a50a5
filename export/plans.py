"""All plans of a bundle for one target: built from its graphs, each with its card, added together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError
from advcal_edge.export.target import BuildOptions
from advcal_edge.export.tensorrt import build_plan, find_device
from advcal_edge.export.timing_cache import cache_path, slug
from advcal_edge.runtime.engine import listed_engine, plan_cards
from advcal_edge.runtime.plan_card import PlanCard, card_path
from advcal_edge.runtime.products import Product, dotted

FOLDER = "engines"


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """One plan of a bundle."""

    path: str
    card: PlanCard

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line."""
        card = self.card
        return {
            "path": self.path,
            "graph": card.graph,
            "kind": card.kind,
            "product": card.product,
            "version": list(card.version),
            "device": None if card.device is None else str(card.device),
            "precision": {"asked": card.precision, "achieved": card.achieved, "evidence": card.evidence},
            "sha256": card.sha256,
            "bytes": card.bytes,
            "seconds": card.seconds,
        }


def build_plans(
    bundle: Bundle,
    product: Product,
    graphs: Sequence[str],
    options: BuildOptions,
    *,
    report: Callable[[str], None] = lambda name: None,
) -> tuple[Bundle, tuple[BuiltPlan, ...]]:
    """Build a plan from each of `graphs`, names in the bundle, into `engines/`; those of the same kind are replaced.

    Raises:
        ConfigError: nothing to build.
        ExportError: a graph is rejected, memory runs out, or a precision is not achieved.
        BundleError: a graph was changed, or the bundle cannot be written.
    """
    if not graphs:
        raise ConfigError(f"bundle `{bundle.path}` has no graph to build from", hint=command("export", bundle.path))
    cache = cache_path(bundle.path, product, find_device())
    built = []
    with bundle.staging() as folder:
        files: dict[str, bytes | Path] = {}
        for graph in graphs:
            report(graph)
            staged = folder / f"{Path(graph).stem}.plan"
            card = build_plan(product, listed_engine(bundle, graph), staged, options, timing_cache=cache)
            name = f"{FOLDER}/{plan_name(card)}"
            files[name] = staged
            files[card_path(Path(name)).as_posix()] = card_path(staged)
            built.append(BuiltPlan(name, card))
        older = [name for plan in built for name in superseded(bundle, plan)]
        return bundle.add(files).remove(older), tuple(built)


def plan_name(card: PlanCard) -> str:
    """`<gpu>-trt<version>-<sha8>.plan`; `any` for a plan that was built without a device."""
    place = "any" if card.device is None else slug(card.device.name)
    product = "trt" if card.product == "tensorrt" else "rtx"
    return f"{place}-{product}{dotted(card.version)}-{card.sha256[:8]}.plan"


def superseded(bundle: Bundle, plan: BuiltPlan) -> list[str]:
    """Files of earlier plans that were built from the same graph for the same target: nobody would choose them."""

    def target(card: PlanCard) -> tuple[object, ...]:
        return card.graph, card.product, card.version, card.device, card.targets

    old = [
        name
        for name, card in plan_cards(bundle).items()
        if target(card) == target(plan.card) and card.sha256 != plan.card.sha256
    ]
    return [file for name in old for file in (name, card_path(Path(name)).as_posix())]


def rebuild_plan(bundle: Bundle, product: Product, card: PlanCard, folder: Path) -> Path:
    """Build the plan of `card` once more from the bundle's graph, with the same options and no timings, into `folder`.

    Raises:
        ExportError: it cannot be built.
    """
    batch = next(iter(card.profiles.values()))
    options = BuildOptions(
        batch=(batch[0][0], batch[1][0], batch[2][0]),
        memory=card.memory,
        version_compatible=card.version_compatible,
        hardware=card.hardware,  # type: ignore[arg-type]  # written from the same words
        capabilities=card.targets,
        break_fusions=card.unfused,
        step=card.step,
    )
    staged = folder / "again.plan"
    again = build_plan(product, listed_engine(bundle, card.graph), staged, options)
    path = folder / plan_name(again)
    card_path(staged).replace(card_path(path))
    return staged.replace(path)
