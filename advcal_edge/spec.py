"""Input of an encoder: the tensor, its physical bounds, and its modality."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.declarations import DECLARATIONS, Setting, defaults, read_setting
from advcal_edge.errors import BundleError, ConfigError, InputError

FLOAT32, BITS = np.dtype(np.float32), np.dtype(np.uint32)
DEEPEST = 16  # bits per value of any sensor that `runtime.sensors` reads


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input tensor in the sensor's own units; `shape` excludes the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str
    bounds: tuple[float, float]
    unit: str

    @property
    def width(self) -> float:
        """Width of the bounds; eps is a fraction of it."""
        return self.bounds[1] - self.bounds[0]

    def check(self, x: object) -> NDArray[np.float32]:
        """Return `x` unchanged if it is a legal batch (n, *shape).

        Raises:
            InputError: not an array, another shape or dtype, NaN or infinite values, or values outside the bounds.
        """
        if not isinstance(x, np.ndarray) or x.shape[1:] != self.shape or x.dtype != FLOAT32:
            raise self._misfit(x)
        low, high = self.bounds
        # as integers, the bits of positive floats sort like the floats, and those of negative floats and of NaN are
        # larger: one pass instead of two. Right after an engine ran, `argmax` starts in a third of `max`'s time
        if not x.size or (low == 0 and 0 < x.item(x.view(BITS).argmax()) <= high):
            return x
        if not (low <= x.min() and x.max() <= high):  # NaN, if present, is both
            raise self._outside(x)
        return x

    def _expected(self) -> str:
        shape = ", ".join(map(str, self.shape))
        return f"{self.dtype} (n, {shape}) within [{self.bounds[0]:g}, {self.bounds[1]:g}]"

    def _misfit(self, x: object) -> InputError:
        """The error for anything that is not a batch of this kind."""
        expected = self._expected()
        if not isinstance(x, np.ndarray):
            return InputError(f"input `{self.name}` is a {type(x).__name__}; expected a numpy array {expected}")
        if x.ndim != len(self.shape) + 1 or x.shape[1:] != self.shape:
            hint = "add the batch axis: `x[None]`" if x.shape == self.shape else "raw frames go through `embed_frames`"
        else:
            hint = "scale to the bounds first, then `x.astype('float32')`"
        return InputError(f"input `{self.name}` is {x.dtype} {x.shape}; expected {expected}", hint=hint)

    def _outside(self, x: NDArray[np.float32]) -> InputError:
        """The error for values that are not finite or outside the bounds."""
        expected, bad = self._expected(), int((~np.isfinite(x)).sum())
        if bad:
            return InputError(f"input `{self.name}` holds {bad} NaN or infinite values; expected {expected}")
        return InputError(
            f"input `{self.name}` spans [{x.min():g}, {x.max():g}]; expected {expected}",
            hint="inputs are physical and not normalised: mean and deviation are inside the graph",
        )

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
    """A kind of sensor: its input tensor, its preprocessing, and the grid of its values."""

    name: str
    input: TensorSpec
    preprocess: str
    bit_depth: int  # number of distinct sensor values: 2 ** bit_depth over the bounds
    settings: Mapping[str, Setting] = field(default_factory=dict, hash=False)
    """Parameters of the sensor for preprocessing: units, rates, clips per recording. Stored in the manifest."""

    def number(self, name: str, otherwise: float | None = None) -> float:
        """A setting as a number, by its name if it has one; of one that is not there the default.

        Raises:
            KeyError: there is none.
        """
        if name not in DECLARATIONS:
            return float(self.settings[name] if otherwise is None else self.settings.get(name, otherwise))
        return DECLARATIONS[name].number(self.settings.get(name, DECLARATIONS[name].default))

    def text(self, name: str) -> str:
        """A setting as text; of one that is not there the default.

        Raises:
            KeyError: there is none.
        """
        value = self.settings.get(name)
        return str(DECLARATIONS[name].default if value is None else value)

    @property
    def assumes_units(self) -> bool:
        """Are data read that contradict their unit?"""
        return self.text("assume_units") == "yes"

    def with_settings(self, changes: Mapping[str, Setting]) -> Modality:
        """The same sensor with some of its settings changed.

        Raises:
            ConfigError: a setting this modality does not have, or a value that it cannot have.
        """
        for name in changes:
            if name not in self.settings:
                raise ConfigError(
                    f"the modality `{self.name}` has no setting `{name}`;"
                    f" expected one of: {', '.join(f'`{known}`' for known in self.settings) or 'none'}"
                )
        checked = {name: read_setting(name, value) for name, value in changes.items()}
        return replace(self, settings={**self.settings, **checked})

    def to_json(self) -> dict[str, Any]:
        """Plain types for the manifest."""
        return {
            "name": self.name,
            "input": self.input.to_json(),
            "preprocess": self.preprocess,
            "bit_depth": self.bit_depth,
            "settings": dict(self.settings),
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
            if spec.dtype != "float32" or not 0 < spec.width < math.inf or not spec.shape or min(spec.shape) < 1:
                raise ValueError(f"dtype {spec.dtype}, bounds {spec.bounds}, shape {spec.shape}")
            limits.INPUT_VALUES.check(
                math.prod(spec.shape), f"modality in the manifest: shape {spec.shape}", BundleError
            )
            settings = {str(name): read_setting(str(name), value) for name, value in data["settings"].items()}
            if settings != data["settings"]:
                raise ValueError(f"settings {data['settings']}; expected {settings}")
            depth = int(data["bit_depth"])
            if not 1 <= depth <= DEEPEST:
                raise ValueError(f"bit_depth {depth}; expected 1 to {DEEPEST}")
            return cls(str(data["name"]), spec, str(data["preprocess"]), depth, settings)
        except ConfigError as error:
            raise BundleError(f"modality in the manifest: {error.message}", hint=error.hint) from error
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise BundleError(f"modality in the manifest is malformed: {error!r}") from error


def image(size: int) -> Modality:
    """RGB frames (n, 3, size, size) in [0, 1], eight bits per channel."""
    spec = TensorSpec("x", (3, size, size), "float32", "chw", (0.0, 1.0), "pixel intensity")
    return Modality("image", spec, "image", 8, defaults("significant_bits", "byte_order", "assume_units"))


def video(size: int, frames: int) -> Modality:
    """Clips (n, 3, frames, size, size) in [0, 1]; a recording gives `clips` of `seconds` each, evenly spaced.

    With `seconds` 0 the clip is the whole recording. `file_rate` is the rate of films without time stamps, 0 if all
    have them.
    """
    spec = TensorSpec("x", (3, frames, size, size), "float32", "cthw", (0.0, 1.0), "pixel intensity")
    return Modality(
        "video", spec, "video", 8, {"clips": 5.0, "seconds": 2.0, "file_rate": 0.0, **defaults("assume_units")}
    )


def thermal(size: int) -> Modality:
    """Thermal frames (n, 1, size, size): counts or degrees, windowed to [0, 1] by the camera's gain control."""
    spec = TensorSpec("x", (1, size, size), "float32", "chw", (0.0, 1.0), "windowed temperature")
    names = ("kelvin_per_count", "kelvin_offset", "significant_bits", "byte_order", "invalid", "assume_units")
    return Modality("thermal", spec, "thermal", 8, defaults(*names))


DEPTH_UNITS = ("depth_scale", "byte_order", "invalid", "assume_units")


def depth(size: int) -> Modality:
    """Disparity (n, 1, size, size) in [0, 1]: baseline * focal length / distance, as a share of the largest.

    The defaults are those of the first Kinect: 75 mm, 519 pixels, nearest distance 0.5 m. With `raw_disparity` 1 the
    raw frames already are disparities, in pixels (floats) or in 1/256 pixel (uint16).
    """
    spec = TensorSpec("x", (1, size, size), "float32", "chw", (0.0, 1.0), "share of the largest disparity")
    geometry = {"baseline_m": 0.075, "focal_px": 519.0, "max_disparity_px": 77.85, "raw_disparity": 0.0}
    return Modality("depth", spec, "depth", 16, {**geometry, **defaults(*DEPTH_UNITS)})


def ranging(size: int) -> Modality:
    """Distance (n, 1, size, size) in [0, 1], as a share of `far_m` metres: depth for encoders trained on distances."""
    spec = TensorSpec("x", (1, size, size), "float32", "chw", (0.0, 1.0), "share of the farthest distance")
    return Modality("depth", spec, "range", 16, {"far_m": 10.0, **defaults(*DEPTH_UNITS)})


def audio(mels: int, frames: int) -> Modality:
    """Log-mel spectrograms (n, 1, mels, frames), one frame per 10 ms; one unit is a factor e in energy, 4.34 dB.

    A clip is as long as the frames span, unless `seconds` is set; `repeat` 1 repeats shorter recordings.
    """
    spec = TensorSpec("x", (1, mels, frames), "float32", "cft", (-16.0, 12.0), "natural logarithm of mel energy")
    seconds = (10 * frames + 15) / 1000  # the last frame spans 25 ms
    return Modality("audio", spec, "audio", 16, {"rate": 16000.0, "clips": 3.0, "seconds": seconds, "repeat": 0.0})


def imu(samples: int, rate: float) -> Modality:
    """Acceleration and angular rate (n, 6, samples), `rate` hertz, as fractions of the sensor's full scale.

    `file_rate` is the rate of files without timestamps, 0 if all files have them.
    """
    spec = TensorSpec("x", (6, samples), "float32", "ct", (-1.0, 1.0), "fraction of full scale")
    full_scale = {"accel_full_scale": 16 * 9.80665, "gyro_full_scale": math.radians(2000)}
    units = defaults("accel_unit", "gyro_unit", "time_unit", "columns", "assume_units")
    return Modality("imu", spec, "imu", 16, {"rate": rate, **full_scale, "clips": 1.0, "file_rate": 0.0, **units})


def event(size: int) -> Modality:
    """Event frames (n, 3, size, size) in [0, 1]: red counts events that brighten, blue those that darken.

    Green is their sum. `sensor_height` and `sensor_width` of 0 are taken from the events.
    """
    spec = TensorSpec("x", (3, size, size), "float32", "chw", (0.0, 1.0), "event density")
    units = defaults("columns", "time_unit", "assume_units")
    return Modality("event", spec, "event", 8, {"sensor_height": 0.0, "sensor_width": 0.0, **units})


def point(points: int) -> Modality:
    """Point clouds (n, points, 3): a farthest-point sample, centred, scaled into the unit sphere."""
    spec = TensorSpec("x", (points, 3), "float32", "pc", (-1.0, 1.0), "radius of the cloud")
    return Modality("point", spec, "point", 16, defaults("columns", "invalid", "assume_units"))


MODALITIES = ("image", "video", "thermal", "depth", "audio", "imu", "event", "point")
"""Every sensor that `runtime.sensors` can read."""
