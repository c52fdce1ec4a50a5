"""A bridge to engines made by others: other names, types, layouts and batch sizes behind the usual `x` -> `z`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends import Backend, Feeds, Floats, TensorSignature
from advcal_edge.runtime.backends.tensor_io import FLOAT
from advcal_edge.runtime.engine_input import EngineInput, find_input
from advcal_edge.runtime.engine_output import EngineOutput, Outputs, embedding_width, find_output
from advcal_edge.runtime.interface import AS_DECLARED, Interface
from advcal_edge.spec import TensorSpec
from advcal_edge.storage import sha256_bytes

TRIED = (2, 1)  # batch sizes of the try-out: with two samples the batch axis of an output is known from its size


class Bridge(Backend):
    """An engine made by others as a backend `x` float32 (n, ...) -> `z` float32 (n, d); as thread-safe as the engine.

    Arrays on a device are not taken: what converts them works on the host.
    """

    def __init__(self, inner: Backend, spec: TensorSpec, given: EngineInput, taken: EngineOutput) -> None:
        self.kind, self.path, self.sha256, self.metadata = inner.kind, inner.path, inner.sha256, inner.metadata
        self.precision, self.step = inner.precision, inner.step
        self.largest = given.batch or inner.largest
        self.inputs = (TensorSignature("x", FLOAT, ("n", *spec.shape)),)
        self.outputs = (TensorSignature("z", FLOAT, ("n", taken.width)),)
        self.taken = taken.name
        self._inner, self._given, self._taken = inner, given, taken

    def run(self, feeds: Feeds) -> Sequence[Floats]:
        """z for at most `largest` samples.

        Raises:
            EngineError: the engine fails, or returns another batch size than it was given.
        """
        n = len(feeds["x"])
        z = self._taken.read(self._run(feeds["x"]), self._given.batch or n, self._inner)
        return [z[:n]]

    def bare(self, feeds: Feeds) -> object:
        """The engine's own work, and the conversion of its input."""
        return self._inner.bare({self._given.name: self._given.convert(feeds["x"])})

    def layers(self) -> str | None:
        """What the product tells of the engine's layers."""
        return self._inner.layers()

    def remake(self) -> str:
        """How the engine is made again."""
        return self._inner.remake()

    def _run(self, x: Floats) -> Outputs:
        return self._inner.run({self._given.name: self._given.convert(x)})


def bridge(backend: Backend, spec: TensorSpec, interface: Interface = AS_DECLARED, width: int | None = None) -> Backend:
    """An engine as `x` float32 (n, *spec.shape) -> `z` float32 (n, d); one that is so already is returned unchanged.

    Names, types and shapes are read from what the engine declares; what it returns, from one run on random samples.
    `width` is d, if it is known; it decides between several outputs.

    Raises:
        EngineError: the engine cannot be bridged, or fails in that run.
    """
    if interface == AS_DECLARED and fits_already(backend, spec):
        return backend
    given = find_input(backend, spec, interface)
    outputs, rows = try_out(backend, spec, given)
    taken = find_output(backend, outputs, rows, interface.output, width)
    differences = (*given.differences(backend.inputs[0].shape, spec), *taken.differences(outputs, rows))
    if not differences and fits_already(backend, spec):
        return backend
    bridged = Bridge(backend, spec, given, taken)
    bridged.bridged = differences
    # the same bytes with another output or scale are another function
    bridged.fingerprint = f"{backend.fingerprint} bridge:{sha256_bytes(repr((given, taken)).encode())[:8]}"
    return bridged


def fits_already(backend: Backend, spec: TensorSpec) -> bool:
    """Does an engine have the names, types and shapes of a graph of our own?"""
    named = [tensor.name for tensor in backend.inputs] == ["x"] and len(backend.outputs) == 1
    return named and backend.inputs[0].accepts(spec.shape) and backend.outputs[0].width is not None


def try_out(backend: Backend, spec: TensorSpec, given: EngineInput) -> tuple[Outputs, int]:
    """What the engine returns for a few random samples, and for how many.

    Raises:
        EngineError: it fails on each number of samples that was tried.
    """
    low, high = spec.bounds
    sizes = [size for size in TRIED if size <= backend.largest] if given.batch is None else [given.batch]
    failure, found = None, None
    for rows in sizes:
        noise = np.random.default_rng(0).uniform(low, high, (rows, *spec.shape)).astype(np.float32)
        try:
            outputs = backend.run({given.name: given.convert(noise)})
        except EngineError as error:
            failure = error
            continue
        if any(embedding_width(array, rows) is not None for array in outputs):
            return outputs, rows
        found = found or (outputs, rows)
    if found is None:
        raise failure or EngineError(f"{backend.kind} `{backend.path}` takes no batch of one sample")
    return found
