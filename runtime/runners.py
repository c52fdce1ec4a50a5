"""An engine file behind the one protocol, whatever kind it is and wherever this machine runs it best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.model import Runner
from advcal_edge.runtime.engine_file import EngineFile, is_plan
from advcal_edge.runtime.graph import import_onnxruntime
from advcal_edge.runtime.onnx_session import OnnxRunner
from advcal_edge.spec import TensorSpec

Floats = NDArray[np.float32]

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
FASTEST_FIRST = (CUDA, CPU)


class EngineRunner(Runner, Protocol):
    """A runner that was opened from a file."""

    dim: int

    @property
    def path(self) -> Path:
        """The file it was opened from."""
        ...

    @property
    def precision(self) -> str:
        """Like `fp16`, as the engine itself says; `custom` where it does not."""
        ...

    @property
    def step(self) -> str | None:
        """Step of the ladder at which it was made; None where none was climbed."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of the bytes that run."""
        ...

    def run(self, x: Floats) -> Floats:
        """What a call returns, for a batch that `spec.check` has let pass."""
        ...

    def bare(self, x: Floats) -> object:
        """What a call does without looking at its input, for measuring what the looking costs."""
        ...


def offered_providers() -> tuple[str, ...]:
    """What ONNX Runtime offers of CUDA and CPU, the faster first; none where it is not installed.

    That CUDA is offered means it was compiled in; whether it works here only opening a graph tells.
    """
    try:
        available = import_onnxruntime().get_available_providers()
    except DependencyError:
        return ()
    return tuple(name for name in FASTEST_FIRST if name in available)


def open_runner(
    engine: Path | EngineFile,
    spec: TensorSpec,
    *,
    providers: Sequence[str] = (),
    threads: int | None = None,
    allow_plan_code: bool = False,
) -> EngineRunner:
    """A plan on its device, or a graph on the first of `providers` (default: all on offer, CUDA first) that takes it.

    With `allow_plan_code` a plan may bring code for the host, which opening it executes.

    Raises:
        EngineError: it cannot be loaded anywhere, or does not take `spec`.
        DependencyError: what runs it is not installed.
    """
    file = EngineFile.of(engine)
    if is_plan(file.path):
        from advcal_edge.runtime.tensorrt import PlanRunner

        return PlanRunner(file, spec, allow_plan_code=allow_plan_code)
    *preferred, last = tuple(providers) or offered_providers() or (CPU,)
    for provider in preferred:
        try:
            return OnnxRunner(file, spec, threads=threads, providers=(provider,))
        except EngineError:
            continue  # compiled in, but there is no device or no library; the fingerprint says where it runs instead
    return OnnxRunner(file, spec, threads=threads, providers=(last,))
