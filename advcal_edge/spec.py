"""What goes into an encoder: the tensor, its physical bounds, and the modality it belongs to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import BundleError, InputError


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input tensor in the sensor's own units; `shape` leaves out the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str
    bounds: tuple[float, float]
    unit: str

    @property
    def width(self) -> float:
        """Width of the bounds, the unit in which eps is a fraction."""
        return self.bounds[1] - self.bounds[0]

    def check(self, x: object) -> NDArray[np.float32]:
        """Return `x` as it is if it is a legal batch (n, *shape).

        Raises:
            InputError: not an array, another shape or dtype, NaN or infinite values, or values outside the bounds.
        """
        expected = (
            f"{self.dtype} (n, {', '.join(map(str, self.shape))}) within [{self.bounds[0]:g}, {self.bounds[1]:g}]"
        )
        if not isinstance(x, np.ndarray):
            raise InputError(f"input `{self.name}` is a {type(x).__name__}; expected a numpy array {expected}")
        found = f"{x.dtype} {x.shape}"
        if x.ndim != len(self.shape) + 1 or x.shape[1:] != self.shape:
            hint = "add the batch axis: `x[None]`" if x.shape == self.shape else "raw frames go through `embed_frames`"
            raise InputError(f"input `{self.name}` is {found}; expected {expected}", hint=hint)
        if x.dtype != np.dtype(self.dtype):
            raise InputError(
                f"input `{self.name}` is {found}; expected {expected}",
                hint="scale to the bounds first, then `x.astype('float32')`",
            )
        if x.size == 0:
            return x
        low, high = float(x.min()), float(x.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            bad = int((~np.isfinite(x)).sum())
            raise InputError(f"input `{self.name}` holds {bad} NaN or infinite values; expected {expected}")
        if low < self.bounds[0] or high > self.bounds[1]:
            raise InputError(
                f"input `{self.name}` spans [{low:g}, {high:g}]; expected {expected}",
                hint="inputs are physical and not normalised: mean and deviation are inside the graph",
            )
        return x

    def to_json(self) -> dict[str, Any]:
        """Plain types for the manifest."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "layout": self.layout,
            "bounds": list(self.bounds),
            "unit": self.unit,
        }


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of sensor: its input tensor, the preprocessing that makes it, and the grid its samples live on."""

    name: str
    input: TensorSpec
    preprocess: str
    bit_depth: int  # values the sensor can tell apart: 2 ** bit_depth over the bounds

    def to_json(self) -> dict[str, Any]:
        """Plain types for the manifest."""
        return {
            "name": self.name,
            "input": self.input.to_json(),
            "preprocess": self.preprocess,
            "bit_depth": self.bit_depth,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Modality:
        """Read what `to_json` wrote.

        Raises:
            BundleError: a field is missing or of the wrong type.
        """
        try:
            tensor = data["input"]
            low, high = (float(b) for b in tensor["bounds"])
            spec = TensorSpec(
                name=str(tensor["name"]),
                shape=tuple(int(s) for s in tensor["shape"]),
                dtype=str(tensor["dtype"]),
                layout=str(tensor["layout"]),
                bounds=(low, high),
                unit=str(tensor["unit"]),
            )
            if spec.dtype != "float32" or not spec.width > 0 or not spec.shape or min(spec.shape) < 1:
                raise ValueError(f"dtype {spec.dtype}, bounds {spec.bounds}, shape {spec.shape}")
            return cls(str(data["name"]), spec, str(data["preprocess"]), int(data["bit_depth"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"modality in the manifest is malformed: {error!r}") from error


def image(size: int) -> Modality:
    """RGB frames (n, 3, size, size) in [0, 1], eight bits a channel."""
    spec = TensorSpec("x", (3, size, size), "float32", "chw", (0.0, 1.0), "pixel intensity")
    return Modality("image", spec, "image", 8)


def thermal(size: int) -> Modality:
    """Thermal frames (n, 1, size, size): counts or degrees, windowed to [0, 1] by the camera's gain control."""
    spec = TensorSpec("x", (1, size, size), "float32", "chw", (0.0, 1.0), "windowed temperature")
    return Modality("thermal", spec, "thermal", 8)
