"""Engines as models: the forward engine as a `Runner`, the backward engine as a `Vjp`, with any backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from advcal_edge import model
from advcal_edge.errors import InputError
from advcal_edge.runtime.backends import Backend, OpenOptions, open_backend
from advcal_edge.runtime.backends.tensor_io import FLOAT, check_batch, describe_batch
from advcal_edge.runtime.bridge import bridge
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.interface import AS_DECLARED, Interface
from advcal_edge.runtime.misfit import misfit, wrong_shape
from advcal_edge.spec import TensorSpec

if TYPE_CHECKING:
    from advcal_edge.runtime.backends.device_array import DeviceArray

Floats = NDArray[np.float32]


class Runner:
    """The forward engine x -> z; safe to call from several threads."""

    def __init__(self, backend: Backend, spec: TensorSpec) -> None:
        """Check that the engine embeds inputs of `spec`.

        Raises:
            EngineError: it has other inputs or outputs.
        """
        inputs, outputs = backend.inputs, backend.outputs
        width = outputs[0].width if len(outputs) == 1 else None
        if width is None or [tensor.name for tensor in inputs] != ["x"] or not inputs[0].accepts(spec.shape):
            raise misfit(backend, f"`x` {describe_batch(spec.shape)} -> `z` float32 (n, d)")
        self.backend, self.spec, self.dim = backend, spec, width
        self._run, self._largest = backend.run, backend.largest

    @property
    def path(self) -> Path:
        """The file of the engine."""
        return self.backend.path

    @property
    def precision(self) -> str:
        """Precision like `fp16`, from the engine's own metadata; `custom` if it has none."""
        return self.backend.precision

    @property
    def step(self) -> str | None:
        """Step of the precision fallback at which it was exported; None without a fallback."""
        return self.backend.step

    @property
    def sha256(self) -> str:
        """Hash of the bytes that run."""
        return self.backend.sha256

    @property
    def fingerprint(self) -> str:
        """Identifies what runs: product, version, provider or device, and the hash."""
        return self.backend.fingerprint

    def __call__(self, x: object) -> Floats:
        """Embed x (n, ...) float32, on the host or on the device of a plan, to z (n, d) on the host, in a new array.

        Raises:
            InputError: another shape or dtype; the caller checks the values.
            EngineError: the engine fails, or returns another batch size.
        """
        array = self.backend.device_array(x)
        if array is None:
            check_batch("x", x, self.spec.shape)
            return self.run(x)  # type: ignore[arg-type]  # just checked
        if array.shape[1:] != self.spec.shape:
            raise InputError(f"`x` is {array.shape} on the device; expected {describe_batch(self.spec.shape)}")
        return self.run(array)

    def run(self, x: Floats | DeviceArray) -> Floats:
        """Embed a batch that `spec.check` accepted.

        Raises:
            EngineError: as for `__call__`.
        """
        n = len(x)
        if 0 < n <= self._largest:
            z = self._run({"x": x})[0]
            if z.shape != (n, self.dim):
                raise wrong_shape(self.backend, "z", z, (n, self.dim))
            return z
        z = np.empty((n, self.dim), np.float32)
        for start in range(0, n, self._largest):
            part = x[start : start + self._largest]
            z[start : start + self._largest] = self.run(part)
        return z

    def bare(self, x: Floats) -> object:
        """Run the engine without any check, to measure what the checks cost."""
        return self.backend.bare({"x": x})


class Vjp:
    """The backward engine (x, v) -> (z, J^T v); safe to call from several threads."""

    def __init__(self, backend: Backend, spec: TensorSpec) -> None:
        """Check that the engine computes gradients at inputs of `spec`.

        Raises:
            EngineError: it has other inputs or outputs.
        """
        inputs = {tensor.name: tensor for tensor in backend.inputs}
        outputs = {tensor.name: tensor for tensor in backend.outputs}
        fits = inputs.keys() == {"x", "v"} and outputs.keys() == {"z", "g"} and inputs["x"].accepts(spec.shape)
        width = inputs["v"].width if fits else None
        # g may be declared with free axes: decompositions lose them, and `_collect` checks the actual shape
        shaped = fits and outputs["g"].type == FLOAT and len(outputs["g"].shape) == 1 + len(spec.shape)
        if width is None or not shaped or outputs["z"].width != width:
            batch = describe_batch(spec.shape)
            raise misfit(backend, f"`x` {batch}, `v` float32 (n, d) -> `z` float32 (n, d), `g` {batch}")
        self.backend, self.spec, self.dim = backend, spec, width
        self._place = {tensor.name: index for index, tensor in enumerate(backend.outputs)}

    @property
    def sha256(self) -> str:
        """Hash of the bytes that run."""
        return self.backend.sha256

    @property
    def fingerprint(self) -> str:
        """Identifies what runs: product, version, provider or device, and the hash."""
        return self.backend.fingerprint

    def pull(self, x: Floats, v: Floats) -> Floats:
        """J^T v at x (n, ...) for v (n, d), both float32, in a new array shaped like x.

        Raises:
            InputError: another shape or dtype.
            EngineError: the engine fails, or returns another batch size.
        """
        return self._collect(("g",), x, v)[0]

    def both(self, x: Floats, v: Floats) -> tuple[Floats, Floats]:
        """z (n, d) of the backward engine itself, and J^T v, from one run.

        Raises:
            InputError: another shape or dtype.
            EngineError: as for `pull`.
        """
        z, g = self._collect(("z", "g"), x, v)
        return z, g

    def embed(self, x: Floats) -> Floats:
        """z (n, d) from the backward engine, to compare with the forward engine.

        Raises:
            InputError: another shape or dtype.
            EngineError: as for `pull`.
        """
        return self._collect(("z",), x, np.zeros((len(x), self.dim), np.float32))[0]

    def _collect(self, names: Sequence[str], x: Floats, v: Floats) -> list[Floats]:
        """One or both of the outputs for a whole batch."""
        check_batch("x", x, self.spec.shape)
        check_batch("v", v, (self.dim,))
        if len(x) != len(v):
            raise InputError(f"found {len(x)} inputs `x` and {len(v)} vectors `v`; expected one vector per input")
        shapes = {"z": (self.dim,), "g": self.spec.shape}
        parts: dict[str, list[Floats]] = {name: [] for name in names}
        for start in range(0, len(x), self.backend.largest):
            rows = slice(start, start + self.backend.largest)
            part = x[rows]
            outputs = self.backend.run({"x": part, "v": v[rows]})
            for name, found in parts.items():
                output = outputs[self._place[name]]
                if output.shape != (len(part), *shapes[name]):
                    raise wrong_shape(self.backend, name, output, (len(part), *shapes[name]))
                found.append(output)
        return [joined(found, shapes[name]) for name, found in parts.items()]


def joined(parts: Sequence[Floats], shape: Sequence[int]) -> Floats:
    """Parts of a batch as one array; the only part is not copied, and without any the batch is empty."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty((0, *shape), np.float32)


class Backward(Protocol):
    """The backward half of a gradient: an exported backward engine, or something else with the same weights."""

    @property
    def fingerprint(self) -> str:
        """Identifies what runs."""
        ...

    def pull(self, x: Floats, v: Floats) -> Floats:
        """J^T v at x (n, ...) for v (n, d), shaped like x."""
        ...


@dataclass(frozen=True, slots=True)
class EngineGradient:
    """Forward by the engine under test, backward by its exported backward engine or another one (BPDA)."""

    runner: model.Runner
    backward: Backward

    def vjp(self, x: Floats) -> tuple[Floats, model.Pullback]:
        """Embed x and return (z, pullback); z is the engine's own."""
        z: Floats = self.runner(x)
        return z, lambda v: self.backward.pull(x, v)


def open_runner(
    engine: str | Path | EngineFile,
    spec: TensorSpec,
    options: OpenOptions | None = None,
    interface: Interface = AS_DECLARED,
    *,
    width: int | None = None,
) -> Runner:
    """Open a forward engine with the backend for its suffix, where it runs best.

    An engine made by others is bridged: it may have other names, types and orders of axes, as far as its declaration
    and `interface` tell them; `runner.backend.bridged` lists them. `width` is that of the embeddings, if it is known.

    Raises:
        EngineError: it cannot be loaded, or does not take `spec`.
        DependencyError: the package that runs it is not installed.
    """
    return Runner(bridge(open_backend(engine, options), spec, interface, width), spec)


def open_vjp(engine: str | Path | EngineFile, spec: TensorSpec, options: OpenOptions | None = None) -> Vjp:
    """Open a backward engine with the backend for its suffix: a graph on the CPU, a plan on its device.

    Raises:
        EngineError: it cannot be loaded, or does not take `spec`.
        DependencyError: the package that runs it is not installed.
    """
    return Vjp(open_backend(engine, replace(options or OpenOptions(), backward=True)), spec)
