"""All plans of a bundle for one target: built from its graphs, each with its metadata, added together or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError
from advcal_edge.export.target import BuildOptions
from advcal_edge.export.tensorrt.build import build_plan, find_device
from advcal_edge.export.tensorrt.timing_cache import cache_path, slug
from advcal_edge.runtime.backends.trt_api import Product, dotted
from advcal_edge.runtime.engine import listed_engine, plan_metadata
from advcal_edge.runtime.metadata import EngineMetadata, metadata_path

FOLDER = "engines"


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """One plan of a bundle."""

    path: str
    metadata: EngineMetadata

    def to_json(self) -> dict[str, Any]:
        """Plain types for the command line."""
        metadata = self.metadata
        return {
            "path": self.path,
            "graph": metadata.graph,
            "kind": metadata.kind,
            "product": metadata.product,
            "version": list(metadata.version),
            "device": None if metadata.device is None else str(metadata.device),
            "precision": {"asked": metadata.precision, "achieved": metadata.achieved, "evidence": metadata.evidence},
            "sha256": metadata.sha256,
            "bytes": metadata.bytes,
            "seconds": metadata.seconds,
        }


def build_plans(
    bundle: Bundle,
    product: Product,
    graphs: Sequence[str],
    options: BuildOptions,
    *,
    report: Callable[[str], None] = lambda name: None,
) -> tuple[Bundle, tuple[BuiltPlan, ...]]:
    """Build a plan from each of `graphs`, names in the bundle, into `engines/`; plans of the same kind are replaced.

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
            metadata = build_plan(product, listed_engine(bundle, graph), staged, options, timing_cache=cache)
            name = f"{FOLDER}/{plan_name(metadata)}"
            files[name] = staged
            files[metadata_path(Path(name)).as_posix()] = metadata_path(staged)
            built.append(BuiltPlan(name, metadata))
        older = [name for plan in built for name in superseded(bundle, plan)]
        return bundle.add(files).remove(older), tuple(built)


def plan_name(metadata: EngineMetadata) -> str:
    """`<gpu>-trt<version>-<sha8>.plan`; `any` for a plan built without a device."""
    place = "any" if metadata.device is None else slug(metadata.device.name)
    product = "trt" if metadata.product == "tensorrt" else "rtx"
    return f"{place}-{product}{dotted(metadata.version)}-{metadata.sha256[:8]}.plan"


def superseded(bundle: Bundle, plan: BuiltPlan) -> list[str]:
    """Files of earlier plans from the same graph for the same target, which are now obsolete."""

    def target(metadata: EngineMetadata) -> tuple[object, ...]:
        return metadata.graph, metadata.product, metadata.version, metadata.device, metadata.targets

    old = [
        name
        for name, metadata in plan_metadata(bundle).items()
        if target(metadata) == target(plan.metadata) and metadata.sha256 != plan.metadata.sha256
    ]
    return [file for name in old for file in (name, metadata_path(Path(name)).as_posix())]


def rebuild_plan(bundle: Bundle, product: Product, metadata: EngineMetadata, folder: Path) -> Path:
    """Build a plan again into `folder`, from the bundle's graph with the same options and without timings.

    Raises:
        ExportError: it cannot be built.
    """
    batch = next(iter(metadata.profiles.values()))
    options = BuildOptions(
        batch=(batch[0][0], batch[1][0], batch[2][0]),
        memory=metadata.memory,
        version_compatible=metadata.version_compatible,
        hardware=metadata.hardware,  # type: ignore[arg-type]  # written from the same words
        capabilities=metadata.targets,
        break_fusions=metadata.unfused,
        step=metadata.step,
    )
    staged = folder / "again.plan"
    again = build_plan(product, listed_engine(bundle, metadata.graph), staged, options)
    path = folder / plan_name(again)
    metadata_path(staged).replace(metadata_path(path))
    return staged.replace(path)
