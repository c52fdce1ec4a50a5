"""Plans behind the two protocols, as `onnx_session` has graphs: forward as a `Runner`, backward for its gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import EngineError, InputError
from advcal_edge.runtime.cuda import Cuda
from advcal_edge.runtime.device_array import DeviceArray, find_device_array
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.plan import Plan
from advcal_edge.runtime.ports import check_batch, describe_batch
from advcal_edge.runtime.products import Product
from advcal_edge.spec import TensorSpec

Floats = NDArray[np.float32]


class PlanRunner:
    """The forward plan x -> z; several threads take turns."""

    def __init__(
        self,
        engine: str | Path | EngineFile,
        spec: TensorSpec,
        *,
        product: Product | None = None,
        cuda: Cuda | None = None,
        cuda_graph: bool = False,
        reuse: bool = False,
        allow_plan_code: bool = False,
    ) -> None:
        """Open the plan and check that it takes `spec`.

        With `cuda_graph` the work of a batch size is recorded once and replayed. With `reuse` the array returned lies
        in pinned memory that the next call overwrites. `allow_plan_code` as for `Plan`.

        Raises:
            EngineError: it cannot run here, or has other inputs or outputs.
            DependencyError: the product or the CUDA runtime is not installed.
        """
        self.plan = Plan(engine, product=product, cuda=cuda, cuda_graph=cuda_graph, allow_plan_code=allow_plan_code)
        self._spec, self._reuse = spec, reuse
        inputs, outputs = self.plan.inputs, self.plan.outputs
        width = outputs[0].width if len(outputs) == 1 else None
        if width is None or [port.name for port in inputs] != ["x"] or not inputs[0].takes(spec.shape):
            raise self.plan.misfit(f"`x` {describe_batch(spec.shape)} -> `z` float32 (n, d)")
        self.dim = width

    @property
    def spec(self) -> TensorSpec:
        """The input it takes."""
        return self._spec

    @property
    def path(self) -> Path:
        """The file it was opened from."""
        return self.plan.path

    @property
    def precision(self) -> str:
        """What it was built in; `custom` where no card says it."""
        return self.plan.precision

    @property
    def step(self) -> str | None:
        """Step of the ladder at which it was built; None where none was climbed."""
        return None if self.plan.card is None else self.plan.card.step

    @property
    def sha256(self) -> str:
        """Hash of the bytes that run."""
        return self.plan.sha256

    @property
    def fingerprint(self) -> str:
        """Product, version, device and hash."""
        return self.plan.fingerprint

    def __call__(self, x: Any) -> Floats:
        """Embed x (n, ...) float32, of the host or on the device, to z (n, d) on the host.

        Raises:
            InputError: another shape or dtype; values are the caller's to check.
            EngineError: the device fails.
        """
        held = find_device_array(x, self.plan.stream(), self.plan.cuda.device)
        checked = x if held is None else held
        if held is None:
            check_batch("x", x, self._spec.shape)
        elif held.shape[1:] != self._spec.shape:
            raise InputError(f"`x` is {held.shape} on the device; expected {describe_batch(self._spec.shape)}")
        return self.run(checked)

    def bare(self, x: Floats) -> object:
        """What a call does without looking at its input, for measuring what the looking costs."""
        return self.plan.run({"x": x})

    def run(self, x: Floats | DeviceArray) -> Floats:
        """What a call returns, for a batch that `spec.check` has let pass.

        Raises:
            EngineError: the device fails.
        """
        count, step = x.shape[0], self.plan.largest
        if 0 < count <= step:
            return self.plan.run({"x": x}, reuse=self._reuse)[0]
        parts = [self.plan.run({"x": part(x, start, step)})[0] for start in range(0, count, step)]
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)


class PlanVjp:
    """The backward plan (x, v) -> (z, J^T v); several threads take turns."""

    def __init__(
        self,
        engine: str | Path | EngineFile,
        spec: TensorSpec,
        *,
        product: Product | None = None,
        cuda: Cuda | None = None,
        allow_plan_code: bool = False,
    ) -> None:
        """Open the plan and check that it takes `spec`; `allow_plan_code` as for `Plan`.

        Raises:
            EngineError: it cannot run here, or has other inputs or outputs.
            DependencyError: the product or the CUDA runtime is not installed.
        """
        self.plan = Plan(engine, product=product, cuda=cuda, allow_plan_code=allow_plan_code)
        self._spec = spec
        inputs = {port.name: port for port in self.plan.inputs}
        outputs = {port.name: port for port in self.plan.outputs}
        width = inputs["v"].width if inputs.keys() == {"x", "v"} else None
        if width is None or not inputs["x"].takes(spec.shape) or outputs.keys() != {"z", "g"}:
            batch = describe_batch(spec.shape)
            raise self.plan.misfit(f"`x` {batch}, `v` float32 (n, d) -> `z` float32 (n, d), `g` {batch}")
        self.dim = width
        self._names = [port.name for port in self.plan.outputs]

    @property
    def sha256(self) -> str:
        """Hash of the bytes that run."""
        return self.plan.sha256

    @property
    def fingerprint(self) -> str:
        """Product, version, device and hash."""
        return self.plan.fingerprint

    def pull(self, x: Floats, v: Floats) -> Floats:
        """J^T v at x (n, ...) for v (n, d), both float32, in a fresh array shaped like x.

        Raises:
            InputError: another shape or dtype.
            EngineError: the device fails.
        """
        return self._run(x, v, "g", x.shape)

    def embed(self, x: Floats) -> Floats:
        """z (n, d) as the backward plan computes it on the way: what is compared with the forward plan first."""
        return self._run(x, np.zeros((len(x), self.dim), np.float32), "z", (len(x), self.dim))

    def _run(self, x: Floats, v: Floats, wanted: str, shape: tuple[int, ...]) -> Floats:
        check_batch("x", x, self._spec.shape)
        check_batch("v", v, (self.dim,))
        if len(x) != len(v):
            raise InputError(f"found {len(x)} inputs `x` and {len(v)} vectors `v`; expected one vector an input")
        step, parts = self.plan.largest, []
        for start in range(0, len(x), step):
            outputs = self.plan.run({"x": x[start : start + step], "v": v[start : start + step]})
            parts.append(dict(zip(self._names, outputs, strict=True))[wanted])
        found = np.concatenate(parts) if parts else np.empty(shape, np.float32)
        if found.shape != shape:
            raise EngineError(f"plan `{self.plan.path}` returned {found.shape} as `{wanted}`; expected {shape}")
        return found


def part(x: Floats | DeviceArray, start: int, count: int) -> Floats | DeviceArray:
    """Some samples of a batch, without a copy."""
    if not isinstance(x, DeviceArray):
        return x[start : start + count]
    shape = (min(count, x.shape[0] - start), *x.shape[1:])
    size = int(np.prod(shape[1:])) * 4
    return DeviceArray(x.address + start * size, shape, x.stream, x.keep)
