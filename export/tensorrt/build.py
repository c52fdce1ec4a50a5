"""Build one plan from one ONNX graph with TensorRT or TensorRT-RTX: strongly typed, and checked for its precision."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from advcal_edge.errors import ConfigError, DependencyError, EngineError, ExportError
from advcal_edge.export.target import BuildOptions
from advcal_edge.export.tensorrt.check_precision import check_precision
from advcal_edge.export.tensorrt.network import break_fusions, product_precisions, read_network
from advcal_edge.export.tensorrt.timing_cache import attach_timings, store_timings
from advcal_edge.precision import BACKWARD_GRAPH, PRECISIONS
from advcal_edge.runtime.backends.cuda import Cuda
from advcal_edge.runtime.backends.trt_api import Product, collecting_log
from advcal_edge.runtime.engine_file import graph_digest
from advcal_edge.runtime.metadata import Device, EngineMetadata, metadata_path
from advcal_edge.storage import sha256_bytes, write_atomic

MIB = 1 << 20
LEVELS = {"ampere+": "AMPERE_PLUS", "same-capability": "SAME_COMPUTE_CAPABILITY"}
MEMORY_WORDS = ("out of memory", "outofmemory", "insufficient memory", "allocation failed", "std::bad_alloc")


def find_device() -> Device | None:
    """The CUDA device of this machine; None without one, which TensorRT-RTX does not need for building."""
    try:
        cuda = Cuda()
        return Device(cuda.device_name(), cuda.compute_capability())
    except (DependencyError, EngineError):
        return None


def build_plan(
    product: Product,
    graph: Path,
    target: Path,
    options: BuildOptions | None = None,
    *,
    timing_cache: Path | None = None,
) -> EngineMetadata:
    """Build the ONNX file `graph`, named like `forward.fp16.onnx`, into the plan `target` with its metadata beside it.

    TF32 is off. If this machine has a device the plan is opened again and its layers are read; without one, the
    metadata state that the precision is that of the typed network.

    Raises:
        ConfigError: a file name that is not that of a graph in a bundle, or options that the product does not have.
        ExportError: the graph is rejected, memory runs out, or the precision is not achieved.
        EngineError: TensorRT without a CUDA device.
    """
    options = options or BuildOptions()
    kind, precision = named(graph)
    device = find_device()
    if device is None and product.name == "tensorrt":
        Cuda()  # raises if there is none
    start = time.perf_counter()
    data, network, config = build(product, graph, options, timing_cache)
    if options.deterministic and product.name == "tensorrt_rtx" and build(product, graph, options, None)[0] != data:
        raise ExportError(f"{product} built `{graph.name}` twice and the plans differ; `--deterministic` was asked for")
    seconds = time.perf_counter() - start
    kept = store_timings(product, config, timing_cache)  # before a refusal, since timings were measured
    wanted = product_precisions(product.module, network)
    achieved, evidence = check_precision(product, device, data, precision, wanted)
    metadata = EngineMetadata(
        sha256=sha256_bytes(data),
        bytes=len(data),
        kind=kind,
        graph=f"onnx/{graph.name}",
        graph_sha256=graph_digest(graph),
        product=product.name,
        version=product.version,
        device=device,
        targets=options.capabilities,
        hardware=options.hardware,
        version_compatible=options.version_compatible,
        profiles=profile_shapes(network, options),
        flags=set_flags(product.module, config),
        memory=options.memory,
        timing_cache=kept,
        precision=precision,
        achieved=achieved.precision,
        evidence=evidence,
        layers=dict(achieved.layers),
        step=options.step,
        unfused=options.break_fusions,
        seconds=round(seconds, 2),
    )
    write_atomic(target, data)
    write_atomic(metadata_path(target), (json.dumps(metadata.to_json(), indent=1) + "\n").encode())
    return metadata


def build(product: Product, graph: Path, options: BuildOptions, cache: Path | None) -> tuple[bytes, Any, Any]:
    """The plan's bytes, and the network and configuration for queries."""
    log = collecting_log(product.module)
    builder = product.module.Builder(log)
    network = read_network(product, builder, log, graph)
    if options.break_fusions:
        break_fusions(product.module, network)
    config = configure(product, builder, network, options)
    timings = attach_timings(product, config, cache, deterministic=options.deterministic)
    try:
        plan = builder.build_serialized_network(network, config)
    except MemoryError as error:
        log.errors.append(f"out of memory {error}")
        plan = None
    del timings  # the configuration may only reference them
    if plan is None:
        raise build_error(product, graph, options, log.errors)
    return bytes(plan), network, config


def configure(product: Product, builder: Any, network: Any, options: BuildOptions) -> Any:
    """Flags, memory and batch profile of a build."""
    module = product.module
    config = builder.create_builder_config()
    config.clear_flag(module.BuilderFlag.TF32)  # on by default; fp32 products would then keep 10 of 23 mantissa bits
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED  # otherwise the inspector only gives names
    if options.version_compatible:
        config.set_flag(module.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware != "none":
        level = getattr(module.HardwareCompatibilityLevel, LEVELS[options.hardware], None)
        if level is None:
            raise ConfigError(
                f"{product} has no hardware level `{options.hardware}`", hint="leave out `--hardware`, or update"
            )
        config.hardware_compatibility_level = level
    if options.memory is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, options.memory * MIB)
    if options.capabilities:
        set_capabilities(product, config, options)
    profile = builder.create_optimization_profile()
    for name, shapes in profile_shapes(network, options).items():
        profile.set_shape(name, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise ExportError(f"{product} refuses the profile of `--batch {','.join(map(str, options.batch))}`")
    return config


def set_capabilities(product: Product, config: Any, options: BuildOptions) -> None:
    """Compile for named compute capabilities.

    Raises:
        ConfigError: a capability that the product does not know.
    """
    known = product.module.ComputeCapability.__members__
    config.num_compute_capabilities = len(options.capabilities)
    for index, (major, minor) in enumerate(options.capabilities):
        if f"SM{major}{minor}" not in known:
            offered = ", ".join(f"{name[2:-1]}.{name[-1]}" for name in known if name.startswith("SM"))
            raise ConfigError(f"{product} does not build for compute capability {major}.{minor}; it has {offered}")
        config.set_compute_capability(known[f"SM{major}{minor}"], index)


def profile_shapes(network: Any, options: BuildOptions) -> dict[str, tuple[tuple[int, ...], ...]]:
    """(min, opt, max) shape of each input."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    return {
        str(port.name): tuple((size, *(int(axis) for axis in tuple(port.shape)[1:])) for size in options.batch)
        for port in inputs
    }


def set_flags(module: Any, config: Any) -> tuple[str, ...]:
    """Names of the builder flags that are set."""
    return tuple(sorted(name for name, flag in module.BuilderFlag.__members__.items() if config.get_flag(flag)))


def named(graph: Path) -> tuple[str, str]:
    """Kind and precision of the graph that has this name in a bundle.

    Raises:
        ConfigError: no graph in a bundle has this name.
    """
    name = f"onnx/{graph.name}"
    if name == BACKWARD_GRAPH:
        return "vjp", "fp32"
    for precision in PRECISIONS.values():
        if name == precision.graph:
            return "forward", precision.name
    raise ConfigError(f"`{graph.name}` is not the name of a graph of a bundle; expected one like `forward.fp16.onnx`")


def build_error(product: Product, graph: Path, options: BuildOptions, errors: list[str]) -> ExportError:
    """The error when a build fails."""
    text = " ".join(errors).lower()
    if any(word in text for word in MEMORY_WORDS):
        allowed = "all there is" if options.memory is None else f"{options.memory} MiB"
        return ExportError(
            f"{product} ran out of memory while building `{graph.name}` (allowed: {allowed}): {errors[0]}",
            hint="`--memory 1024`, a smaller `--batch`, nothing else running; write the ONNX graphs elsewhere",
        )
    if "timing cache" in text:
        return ExportError(
            f"`--deterministic`, and {product} had to time a kernel that is not in the timing cache: {errors[0]}",
            hint="build once without `--deterministic`, which measures and keeps it",
        )
    return ExportError(f"{product} cannot build `{graph.name}`: {next(iter(errors), 'it gives no reason')}")
