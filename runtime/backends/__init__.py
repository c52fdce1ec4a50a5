"""Backends that run engine files: one per file suffix, imported when such a file is opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError
from advcal_edge.registry import load
from advcal_edge.runtime.backends.tensor_io import TensorSignature
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.weights import IR, PLANS

if TYPE_CHECKING:
    from advcal_edge.runtime.backends.device_array import DeviceArray
    from advcal_edge.runtime.metadata import EngineMetadata

__all__ = ["Backend", "EngineFile", "OpenOptions", "TensorSignature", "open_backend"]

Floats = NDArray[np.float32]
Feeds = Mapping[str, Any]
"""Arrays of the declared type by input name, on the host; or on the device for a backend with `device_array`."""

GRAPH = "advcal_edge.runtime.backends.onnx:open_graph"
PLAN = "advcal_edge.runtime.backends.tensorrt:open_plan"
IR_FILE = "advcal_edge.runtime.backends.openvino:open_ir"
OPENERS: Mapping[str, str] = {".onnx": GRAPH, IR: IR_FILE, **dict.fromkeys(PLANS, PLAN)}
"""Functions (EngineFile, OpenOptions) -> Backend, by file suffix."""

ENTRY_POINTS = "advcal_edge.backends"
"""Entry-point group in which other packages register openers: a suffix without its dot, and `package.module:opener`."""


class Backend(ABC):
    """An opened engine, safe for use from several threads. A backend sets the fields and defines `run`."""

    kind: str = "engine"
    """Name of this kind of engine in messages."""
    path: Path
    sha256: str
    """Hexadecimal hash of the bytes that run."""
    fingerprint: str
    """Identifies what runs: product, version, provider or device, and the hash."""
    precision: str = "custom"
    """Precision like `fp16`, from the engine's own metadata; `custom` if it has none."""
    step: str | None = None
    """Step of the precision fallback at which it was exported; None without a fallback."""
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    largest: int = 64
    """Maximum number of samples per run; larger batches are run in parts."""
    metadata: EngineMetadata | None = None
    """The metadata beside a plan."""
    bridged: tuple[str, ...] = ()
    """How its inputs and outputs differ from `x` -> `z`, one sentence each; empty for an engine of our own."""
    taken: str | None = None
    """Name that the file gives to the output `z`, of an engine that was bridged."""

    @abstractmethod
    def run(self, feeds: Feeds) -> Sequence[Floats]:
        """The outputs in the order of `outputs` for 1 to `largest` samples, in arrays that belong to the caller.

        Raises:
            EngineError: the engine fails on these inputs.
        """

    def bare(self, feeds: Feeds) -> object:
        """The work of `run` without checks, to measure what the checks cost."""
        return self.run(feeds)

    def device_array(self, x: object) -> DeviceArray | None:
        """`x` if it is on the device of the engine and `run` can take it from there; else None.

        Raises:
            InputError: it is on a device and cannot be taken from there.
        """
        return None

    def layers(self) -> str | None:
        """What the product tells of the layers that it runs, as JSON; None if it tells nothing."""
        return None

    def remake(self) -> str:
        """How to build the engine again, for hints."""
        return "make it again"


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to open an engine; a backend ignores options that do not apply to it."""

    backward: bool = False
    """A backward graph, (x, v) -> (z, J^T v)."""
    providers: tuple[str, ...] = ()
    """Providers of ONNX Runtime, of which the first that works is used; all available ones by default."""
    verified_on: str | None = None
    """The provider to try first by default."""
    optimization: Literal["basic", "all"] = "all"
    """How far ONNX Runtime may optimise a graph."""
    threads: int | None = None
    allow_plan_code: bool = False
    """Allow plans that contain code for the host, which runs when they are loaded."""


Opener = Callable[[EngineFile, OpenOptions], Backend]


def open_backend(engine: str | Path | EngineFile, options: OpenOptions | None = None) -> Backend:
    """Open an engine file with the backend for its suffix; a file of unknown suffix is opened as an ONNX graph.

    Raises:
        EngineError: it cannot be read, or cannot run here.
        DependencyError: the package that runs it is not installed.
        ConfigError: two packages registered this suffix.
    """
    file = EngineFile.of(engine)
    opener: Opener = load(OPENERS.get(file.path.suffix) or find_installed(file.path.suffix) or GRAPH)
    return opener(file, options or OpenOptions())


def find_installed(suffix: str) -> str | None:
    """The opener that an installed package registered for a suffix, as `package.module:opener`.

    Raises:
        ConfigError: two packages registered it.
    """
    from importlib.metadata import entry_points  # slower to import than everything else that deployment needs

    places = {point.value for point in entry_points(group=ENTRY_POINTS) if f".{point.name}" == suffix}
    if len(places) > 1:
        raise ConfigError(
            f"{' and '.join(f'`{place}`' for place in sorted(places))} both open `{suffix}` files; expected one",
            hint="uninstall one of the two packages",
        )
    return next(iter(places), None)
