"""Kernel timings of earlier builds, stored next to the bundle, which make builds fast and reproducible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from advcal_edge.errors import ExportError
from advcal_edge.limits import TIMINGS_BYTES
from advcal_edge.runtime.backends.trt_api import Product, dotted
from advcal_edge.runtime.metadata import Device
from advcal_edge.storage import read_bytes, sha256_bytes, write_atomic


def cache_path(bundle: Path, product: Product, device: Device | None) -> Path:
    """Path of the timings of a product on a device: next to the bundle, since they are not part of it."""
    place = "any" if device is None else slug(device.name)
    resolved = bundle.resolve()
    return resolved.with_name(f"{resolved.name}.timing") / f"{place}-{product.name}{dotted(product.version)}.cache"


def slug(name: str) -> str:
    """A device's name as part of a file name."""
    cleaned = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower())
    return "-".join(part for part in cleaned.split("-") if part) or "device"


def attach_timings(product: Product, config: Any, path: Path | None, *, deterministic: bool) -> Any:
    """Give a build the timings in `path`; with `deterministic` it may not measure anything else.

    The return value must live as long as the build.

    TensorRT-RTX measures nothing while building, so it gets none.

    Raises:
        ExportError: the file is unusable, or is missing although `deterministic` is set.
    """
    module = product.module
    if product.name == "tensorrt_rtx":
        return None
    kept = path is not None and path.is_file()
    if deterministic and not kept:
        raise ExportError(
            f"`--deterministic` needs timings to build from; there are none at `{path}`",
            hint="build once without `--deterministic`, which measures and keeps them",
        )
    timings = read_bytes(path, TIMINGS_BYTES, ExportError) if path is not None and kept else b""
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, False):
        raise ExportError(
            f"{product} does not take the timings in `{path}`: they are of another version or device",
            hint="delete the file and build again",
        )
    for name in ("EDITABLE_TIMING_CACHE", *(["ERROR_ON_TIMING_CACHE_MISS"] if deterministic else [])):
        flag = getattr(module.BuilderFlag, name, None)
        if flag is None:
            if deterministic:
                raise ExportError(f"{product} has no `{name}`, which `--deterministic` rests on")
            continue
        config.set_flag(flag)
    return cache


def store_timings(product: Product, config: Any, path: Path | None) -> str | None:
    """Write the timings of a build back to `path`; returns their sha256, None if nothing was measured."""
    if product.name == "tensorrt_rtx":
        return None
    data = bytes(config.get_timing_cache().serialize())
    if path is not None:
        write_atomic(path, data)
    return sha256_bytes(data)
