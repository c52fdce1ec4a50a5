"""Choose the engine of a bundle to run: the one that was named, or the best with a passing report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.limits import ENGINE_BYTES
from advcal_edge.precision import FASTEST_FIRST, PRECISIONS, speed_of
from advcal_edge.runtime.engine_file import EngineFile, is_plan
from advcal_edge.runtime.verified import find_verified
from advcal_edge.runtime.weights import GRAPH, combine, read_weights, usual_name, weights_names

if TYPE_CHECKING:
    from advcal_edge.runtime.metadata import EngineMetadata


def choose_engine(bundle: Bundle, name: str, *, retested: bool = False) -> Path:
    """Path of the engine for `name`: `auto`, a precision, a name in the bundle or a path.

    `auto` is, among those with a passing report, a plan that runs on this device, else the fastest graph by convention
    (int8, fp16, fp32); without any report the fp32 graph. With `retested` a plan that can be retested for a relative
    comes after verified plans and before graphs. No engine is read here: `read_engine` reads it, and compares
    its hash with the one by which it was chosen.

    Raises:
        EngineError: no such engine.
        BundleError: a report or the metadata of a plan was changed.
    """
    if name == "auto":
        plan = choose_plan(bundle, find_verified) or (choose_retestable(bundle) if retested else None)
        return plan or choose_verified(bundle) or listed_path(bundle, PRECISIONS["fp32"].graph)
    if name in PRECISIONS:
        return listed_path(bundle, PRECISIONS[name].graph)
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
        name = PRECISIONS[precision].graph
        if bundle.has(name) and find_verified(bundle, listed_digest(bundle, name)):
            return listed_path(bundle, name)
    return None


def choose_retestable(bundle: Bundle) -> Path | None:
    """Path of the fastest plan by convention for this machine that has no report, but a relative with one."""
    from advcal_edge.runtime.relative import has_relative  # which reads plans by the functions of this file

    return choose_plan(bundle, has_relative)


def choose_plan(bundle: Bundle, counts: Callable[[Bundle, str], object]) -> Path | None:
    """Path of the fastest plan by convention that `counts`, by its hash, with metadata that match this machine."""
    plans = plan_metadata(bundle)
    counted = [
        (-speed_of(metadata.precision), name)
        for name, metadata in plans.items()
        if metadata.kind == "forward" and counts(bundle, metadata.sha256)
    ]  # reports first: the device query needs a driver
    return next((listed_path(bundle, name) for _, name in sorted(counted) if fits_here(plans[name])), None)


def plan_metadata(bundle: Bundle) -> Mapping[str, EngineMetadata]:
    """The metadata of each plan in the bundle that has some, by the plan's name.

    Raises:
        BundleError: the file beside a plan was changed.
        EngineError: it cannot be read.
    """
    names = [name for name in bundle.manifest["files"] if name.startswith("engines/") and is_plan(Path(name))]
    found = {name: listed_metadata(bundle, name) for name in names}
    return {name: metadata for name, metadata in found.items() if metadata is not None}


def listed_metadata(bundle: Bundle, name: str) -> EngineMetadata | None:
    """The metadata of a listed plan; None without any.

    Raises:
        BundleError: the file beside the plan was changed.
        EngineError: it cannot be read.
    """
    from advcal_edge.runtime.metadata import metadata_path, read_metadata

    beside = metadata_path(Path(name)).as_posix()
    return read_metadata(bundle.file(beside).with_suffix(Path(name).suffix)) if bundle.has(beside) else None


def fits_here(metadata: EngineMetadata) -> bool:
    """Do product and device of this machine match those of a plan?"""
    from advcal_edge.runtime.backends.cuda import Cuda
    from advcal_edge.runtime.backends.trt_api import find_product
    from advcal_edge.runtime.metadata import Device

    try:
        cuda = Cuda()
        device = Device(cuda.device_name(), cuda.compute_capability())
        return metadata.misfit(find_product(metadata.product), device) is None
    except (DependencyError, EngineError):
        return False


def runs_here(metadata: EngineMetadata) -> bool:
    """Is this a forward plan for this machine?"""
    return metadata.kind == "forward" and fits_here(metadata)


def runnable_precisions() -> tuple[str, ...]:
    """Precisions of graphs that ONNX Runtime can run on this machine."""
    from advcal_edge.runtime.backends.onnx import CUDA, offered_providers

    cuda = CUDA in offered_providers()
    return tuple(name for name, precision in PRECISIONS.items() if cuda or precision.on_cpu)


def read_engine(bundle: Bundle, path: Path) -> EngineFile:
    """Read an engine once, and compare it with the manifest if it is a file of the bundle.

    Raises:
        BundleError: missing or changed.
        EngineError: a file outside the bundle that cannot be read.
    """
    name = listed_name(bundle, path)
    return EngineFile.of(path) if name is None else read_listed(bundle, name)


def read_listed(bundle: Bundle, name: str) -> EngineFile:
    """Read an engine of the bundle once and compare it with the manifest; unlisted weights are not read.

    Raises:
        EngineError: not listed.
        BundleError: missing or changed.
    """
    path = listed_path(bundle, name)
    data = bundle.read(name, ENGINE_BYTES)
    places = listed_weights(bundle, name, data)
    weights = read_weights(path, places, lambda beside: bundle.read(places[beside], ENGINE_BYTES))
    return EngineFile(path, data, weights, listed_digest(bundle, name, data))


def listed_name(bundle: Bundle, path: Path) -> str | None:
    """Name of a file in the manifest, for any path that leads to it; None if it is not listed."""
    name = path.relative_to(bundle.path).as_posix() if path.is_relative_to(bundle.path) else ""
    if bundle.has(name):
        return name
    return next((other for other in bundle.manifest["files"] if same_file(path, bundle.path / other)), None)


def same_file(one: Path, other: Path) -> bool:
    """Do two paths lead to the same existing file?"""
    try:
        return one.samefile(other)
    except OSError:
        return False


def listed_digest(bundle: Bundle, name: str, data: bytes | None = None) -> str:
    """`graph_digest` of an unchanged listed engine, from the hashes in the manifest; `data` as in `listed_weights`."""
    files = bundle.manifest["files"]
    places = listed_weights(bundle, name, data)
    digests = {beside: files[place]["sha256"] for beside, place in places.items()}
    return combine(Path(name), files[name]["sha256"], digests)


def listed_weights(bundle: Bundle, name: str, data: bytes | None = None) -> dict[str, str]:
    """The listed files beside a listed engine that hold its weights, by the names that the engine gives them.

    `data` is the content of the engine if it has been read already; otherwise it is read only if more than graphs and
    the usual file are listed in its folder. Of an engine that cannot be read only that file is known.
    """
    path, folder = bundle.path / name, Path(name).parent
    usual = folder / usual_name(path)
    listed = {place.name: place for place in map(Path, bundle.manifest["files"]) if place.parent == folder}
    others = any(place.suffix != GRAPH and place != usual for place in listed.values())
    try:
        names = weights_names(path, data if others else b"")
    except EngineError:
        names = weights_names(path, b"")
    return {beside: listed[beside].as_posix() for beside in names if beside in listed}


def listed_engine(bundle: Bundle, name: str) -> Path:
    """Path of a listed graph, after checking its hash and that of its weights, for libraries that read the file.

    Raises:
        EngineError: not listed.
        BundleError: missing or changed.
    """
    path = listed_path(bundle, name)
    for file in (name, *listed_weights(bundle, name).values()):
        bundle.file(file)
    return path


def listed_path(bundle: Bundle, name: str) -> Path:
    """Path of a listed engine.

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
    """The options that export a graph that is not exported by default."""
    return next((("--precision", p.name) for p in PRECISIONS.values() if name == p.graph and not p.default), ())


def graphs(bundle: Bundle) -> list[str]:
    """Names of the forward graphs in the manifest."""
    return [n for n in bundle.manifest["files"] if n.startswith("onnx/forward.") and n.endswith(".onnx")]
