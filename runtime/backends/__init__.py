"""What runs an engine file: one backend per kind of file, found by its suffix and imported when one is opened."""

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
from advcal_edge.runtime.engine_file import PLANS, EngineFile

if TYPE_CHECKING:
    from advcal_edge.runtime.backends.device_array import DeviceArray
    from advcal_edge.runtime.metadata import EngineMetadata

__all__ = ["Backend", "EngineFile", "OpenOptions", "TensorSignature", "open_backend"]

Floats = NDArray[np.float32]
Feeds = Mapping[str, Any]
"""Float32 arrays by the name of the input, on the host; on the device for a backend with `device_array`."""

GRAPH = "advcal_edge.runtime.backends.onnx:open_graph"
PLAN = "advcal_edge.runtime.backends.tensorrt:open_plan"
OPENERS: Mapping[str, str] = {".onnx": GRAPH, **dict.fromkeys(PLANS, PLAN)}
"""Functions (EngineFile, OpenOptions) -> Backend, by the suffix of the files they open."""

ENTRY_POINTS = "advcal_edge.backends"
"""Group in which other packages register openers: a suffix without its dot, and `package.module:opener`."""


class Backend(ABC):
    """An opened engine; safe to run from several threads. A backend sets the fields and defines `run`."""

    kind: str = "engine"
    """The word for it in messages."""
    path: Path
    sha256: str
    """Hexadecimal, of the bytes that run."""
    fingerprint: str
    """What exactly runs: product, version, where, and the hash."""
    precision: str = "custom"
    """Like `fp16`, as the engine itself says; `custom` where it does not."""
    step: str | None = None
    """Step of the precision fallback at which it was made; None where none was taken."""
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    largest: int = 64
    """Samples per run at most; larger batches are run in parts."""
    metadata: EngineMetadata | None = None
    """What lies beside a plan."""

    @abstractmethod
    def run(self, feeds: Feeds) -> Sequence[Floats]:
        """The outputs in the order of `outputs` for 1 to `largest` samples, in arrays that are the caller's own.

        Raises:
            EngineError: the engine fails on these inputs.
        """

    def bare(self, feeds: Feeds) -> object:
        """What `run` does without any check, to measure what the checks cost."""
        return self.run(feeds)

    def device_array(self, x: object) -> DeviceArray | None:
        """`x` where it lies on the device that the engine runs on, and `run` takes it from there; else None.

        Raises:
            InputError: it lies on a device and cannot be taken from there.
        """
        return None

    def remake(self) -> str:
        """How to make the engine again, for hints."""
        return "make it again"


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to open an engine; a backend ignores what it has no use for."""

    backward: bool = False
    """Whether it is a backward graph, (x, v) -> (z, J^T v)."""
    providers: tuple[str, ...] = ()
    """ONNX Runtime's, the first that works is taken; all on offer where none is named."""
    verified_on: str | None = None
    """The provider to try first where none is named."""
    optimization: Literal["basic", "all"] = "all"
    """How far ONNX Runtime may rewrite a graph."""
    threads: int | None = None
    allow_plan_code: bool = False
    """Whether a plan may bring code for the host, which opening it executes."""


Opener = Callable[[EngineFile, OpenOptions], Backend]


def open_backend(engine: str | Path | EngineFile, options: OpenOptions | None = None) -> Backend:
    """Open an engine file with the backend for its suffix; a file of unknown suffix is opened as an ONNX graph.

    Raises:
        EngineError: it cannot be read, or cannot be run here.
        DependencyError: what runs it is not installed.
        ConfigError: two packages open files of this suffix.
    """
    file = EngineFile.of(engine)
    opener: Opener = load(OPENERS.get(file.path.suffix) or find_installed(file.path.suffix) or GRAPH)
    return opener(file, options or OpenOptions())


def find_installed(suffix: str) -> str | None:
    """The opener that an installed package registered for a suffix, as `package.module:opener`.

    Raises:
        ConfigError: two packages registered it.
    """
    from importlib.metadata import entry_points  # which takes longer to import than all that a robot needs

    places = {point.value for point in entry_points(group=ENTRY_POINTS) if f".{point.name}" == suffix}
    if len(places) > 1:
        raise ConfigError(
            f"{' and '.join(f'`{place}`' for place in sorted(places))} both open `{suffix}` files; expected one",
            hint="uninstall one of the two packages",
        )
    return next(iter(places), None)
