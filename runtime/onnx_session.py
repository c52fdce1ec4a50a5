"""Exported graphs behind the two protocols: the forward graph as a `Runner`, with its backward graph a `Gradient`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import EngineError, InputError
from advcal_edge.model import Pullback, Runner
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.exporting import export_command
from advcal_edge.runtime.graph import Graph, Optimization
from advcal_edge.runtime.ports import check_batch, describe_batch
from advcal_edge.spec import TensorSpec

CPU = ("CPUExecutionProvider",)
CHUNK = 64  # samples a run: bounds the memory of activations, and larger ones are no faster on a CPU

Floats = NDArray[np.float32]


class OnnxRunner:
    """The forward graph x -> z in ONNX Runtime; safe to call from several threads."""

    def __init__(
        self,
        engine: str | Path | EngineFile,
        spec: TensorSpec,
        *,
        optimization: Optimization = "all",
        threads: int | None = None,
        providers: Sequence[str] = CPU,
        chunk: int = CHUNK,
    ) -> None:
        """Load the graph and check that it takes `spec`.

        Raises:
            EngineError: unreadable, no ONNX graph, other inputs or outputs, or a provider that is not available.
            DependencyError: onnxruntime is not installed.
        """
        self.graph = Graph(engine, optimization=optimization, threads=threads, providers=providers)
        self._spec = spec
        self._chunk = chunk
        inputs, outputs = self.graph.inputs, self.graph.outputs
        width = outputs[0].width if len(outputs) == 1 else None
        if width is None or [port.name for port in inputs] != ["x"] or not inputs[0].takes(spec.shape):
            raise self.graph.misfit(f"`x` {describe_batch(spec.shape)} -> `z` float32 (n, d)")
        self.dim = width

    @property
    def spec(self) -> TensorSpec:
        """The input it takes."""
        return self._spec

    @property
    def path(self) -> Path:
        """The file it was opened from."""
        return self.graph.path

    @property
    def precision(self) -> str:
        """What the graph says it is; `custom` for one that was exported by something else."""
        return self.graph.precision

    @property
    def step(self) -> str | None:
        """Step of the ladder at which it was made; None where none was climbed."""
        return self.graph.step

    @property
    def sha256(self) -> str:
        """Hash of the bytes that run."""
        return self.graph.sha256

    @property
    def fingerprint(self) -> str:
        """Product, version, provider, optimisation level and hash."""
        return self.graph.fingerprint

    def bare(self, x: Floats) -> object:
        """What a call does without looking at its input, for measuring what the looking costs."""
        outputs: object = self.graph.session.run(None, {"x": x})
        return outputs

    def __call__(self, x: Floats) -> Floats:
        """Embed x (n, ...) float32 to z (n, d) in a fresh array.

        Raises:
            InputError: another shape or dtype; values are the caller's to check.
            EngineError: the graph fails, or mixes up its batch.
        """
        check_batch("x", x, self._spec.shape)
        return self.run(x)

    def run(self, x: Floats) -> Floats:
        """What a call returns, for a batch that `spec.check` has let pass.

        Raises:
            EngineError: as for a call.
        """
        if 0 < len(x) <= self._chunk:
            (z,) = self.graph.run({"x": x})
            return check_shape(z, (len(x), self.dim), self.graph)
        parts = []
        for start in range(0, len(x), self._chunk):
            part = x[start : start + self._chunk]
            (z,) = self.graph.run({"x": part})
            parts.append(check_shape(z, (len(part), self.dim), self.graph))
        return join(parts, (0, self.dim))


class OnnxVjp:
    """The backward graph (x, v) -> (z, J^T v) in ONNX Runtime; safe to call from several threads."""

    def __init__(
        self,
        engine: str | Path | EngineFile,
        spec: TensorSpec,
        *,
        threads: int | None = None,
        providers: Sequence[str] = CPU,
        chunk: int = CHUNK,
    ) -> None:
        """Load the graph and check that it takes `spec`.

        Raises:
            EngineError: unreadable, no ONNX graph, other inputs or outputs, or a provider that is not available.
            DependencyError: onnxruntime is not installed.
        """
        # above `basic`, onnxruntime 1.32 brings the process down on FP16 gradients
        self.graph = Graph(engine, optimization="basic", threads=threads, providers=providers)
        self._spec = spec
        self._chunk = chunk
        inputs, outputs = {port.name: port for port in self.graph.inputs}, self.graph.outputs
        width = inputs["v"].width if inputs.keys() == {"x", "v"} else None
        fits = width is not None and inputs["x"].takes(spec.shape) and len(outputs) == 2
        # g may be declared with free axes: decompositions lose them, and `check_shape` sees what really comes out
        if width is None or not fits or outputs[0].width != width or len(outputs[1].shape) != len(spec.shape) + 1:
            batch = describe_batch(spec.shape)
            raise self.graph.misfit(f"`x` {batch}, `v` float32 (n, d) -> `z` float32 (n, d), `g` {batch}")
        self.dim = width

    @property
    def sha256(self) -> str:
        """Hash of the bytes that run."""
        return self.graph.sha256

    @property
    def fingerprint(self) -> str:
        """Product, version, provider, optimisation level and hash."""
        return self.graph.fingerprint

    def pull(self, x: Floats, v: Floats) -> Floats:
        """J^T v at x (n, ...) for v (n, d), both float32, in a fresh array shaped like x.

        Raises:
            InputError: another shape or dtype.
            EngineError: the graph fails, or mixes up its batch.
        """
        return join([check_shape(g, part.shape, self.graph) for part, _, g in self._runs(x, v)], x.shape)

    def embed(self, x: Floats) -> Floats:
        """z (n, d) as the backward graph computes it on the way: what is compared with the forward engine first."""
        runs = self._runs(x, np.zeros((len(x), self.dim), np.float32))
        return join([check_shape(z, (len(part), self.dim), self.graph) for part, z, _ in runs], (0, self.dim))

    def _runs(self, x: Floats, v: Floats) -> Iterator[tuple[Floats, Floats, Floats]]:
        check_batch("x", x, self._spec.shape)
        check_batch("v", v, (self.dim,))
        if len(x) != len(v):
            raise InputError(f"found {len(x)} inputs `x` and {len(v)} vectors `v`; expected one vector an input")
        for start in range(0, len(x), self._chunk):
            part = x[start : start + self._chunk]
            z, g = self.graph.run({"x": part, "v": v[start : start + self._chunk]})
            yield part, z, g


class Backward(Protocol):
    """The backward half of an engine: a graph in ONNX Runtime, or a plan."""

    dim: int

    @property
    def fingerprint(self) -> str:
        """What exactly runs."""
        ...

    def pull(self, x: Floats, v: Floats) -> Floats:
        """J^T v at x (n, ...) for v (n, d)."""
        ...

    def embed(self, x: Floats) -> Floats:
        """z (n, d) as it is computed on the way."""
        ...


@dataclass(frozen=True, slots=True)
class EngineGradient:
    """Forward by the engine under test, backward by its exported sibling (BPDA), on a machine without torch."""

    runner: Runner
    backward: Backward

    def vjp(self, x: Floats) -> tuple[Floats, Pullback]:
        """Embed x and return (z, pullback); z is the engine's own."""
        z: Floats = self.runner(x)
        return z, lambda v: self.backward.pull(x, v)


def check_shape(out: Floats, expected: tuple[int, ...], graph: Graph) -> Floats:
    """Return `out` if the graph keeps what its declaration promises.

    Raises:
        EngineError: another shape.
    """
    if out.shape != expected:
        raise EngineError(
            f"graph `{graph.path}` returned {out.shape} for a batch of {expected[0]}; expected {expected}",
            hint=f"its batch size was frozen while exporting; export again: {export_command(graph.path)}",
        )
    return out


def join(parts: list[Floats], empty: tuple[int, ...]) -> Floats:
    """All chunks as one array; the usual single one is handed on, since onnxruntime allocates its outputs anew."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(empty, np.float32)
