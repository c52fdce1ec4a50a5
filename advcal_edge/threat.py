"""The threat model: a norm ball around a sample, inside the sensor's bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from array_api_compat import array_namespace

from advcal_edge.errors import BundleError, ConfigError

Array = Any  # numpy or torch, on any device; code on this type uses the array API
Norm = Literal["linf", "l2"]
NORMS: Mapping[str, Norm] = {"linf": "linf", "l2": "l2"}
"""Norms by their display name."""


@dataclass(frozen=True, slots=True)
class ThreatModel:
    """A ball of radius `eps` (a fraction of the width of `bounds`) in `norm`, intersected with `bounds`."""

    norm: Norm
    eps: float
    bounds: tuple[float, float]

    def __post_init__(self) -> None:
        low, high = self.bounds
        if self.norm not in ("linf", "l2"):
            raise ConfigError(f"unknown norm `{self.norm}`; expected `linf` or `l2`")
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ConfigError(f"bounds must be finite and ascending: [{low:g}, {high:g}]")
        if not math.isfinite(self.eps) or self.eps < 0 or (self.norm == "linf" and self.eps > 1):
            range_ = "[0, 1]" if self.norm == "linf" else "[0, inf)"
            raise ConfigError(
                f"eps must lie in {range_}, a fraction of the width of [{low:g}, {high:g}]: found {self.eps:g}",
                hint="write pixel budgets as `4/255`",
            )

    @property
    def radius(self) -> float:
        """`eps` in the units of the input."""
        return self.eps * (self.bounds[1] - self.bounds[0])

    def with_eps(self, eps: float) -> ThreatModel:
        """The same ball with another radius."""
        return ThreatModel(self.norm, eps, self.bounds)

    def with_norm(self, norm: Norm, shape: Sequence[int]) -> ThreatModel:
        """The ball of another norm and the same energy, around inputs of `shape` without the batch axis.

        The l2 radius is the root mean square length of uniform noise in the linf ball, eps sqrt(n / 3) for n
        values. For (3, 32, 32) and linf 4/255 that is the customary 0.5. Rounded to four digits.
        """
        if norm == self.norm:
            return self
        length = math.sqrt(math.prod(shape) / 3)
        eps = self.eps * length if norm == "l2" else min(self.eps / length, 1.0)
        return ThreatModel(norm, float(f"{eps:.4g}"), self.bounds)

    def farthest(self, shape: Sequence[int]) -> float:
        """The smallest eps at which every legal input of `shape`, without the batch axis, can become every other."""
        return 1.0 if self.norm == "linf" else math.sqrt(math.prod(shape))

    def check_reach(self, shape: Sequence[int]) -> None:
        """Refuse a radius that is larger than the input space.

        Raises:
            ConfigError: eps lies beyond `farthest`.
        """
        if self.eps > self.farthest(shape):
            raise ConfigError(
                f"`--eps {self.eps:g}` in {self.norm}: from {self.farthest(shape):.4g} on, every input is in reach of"
                " every other; expected less",
                hint=f"leave out `--eps` for the usual radius in {self.norm}",
            )

    def project(self, x: Array, x0: Array) -> Array:
        """A legal point close to `x` around a legal `x0`, both (n, ...), in linf the nearest. Only this method clips.

        In l2 the bounds are applied before the ball. In the other order, clipping to the bounds would shorten a step,
        and half the pixels of an image may be at a bound.
        """
        xp = array_namespace(x, x0)
        if self.norm == "linf":
            x = xp.minimum(xp.maximum(x, x0 - self.radius), x0 + self.radius)  # half the time of clip in torch
        else:
            delta = xp.clip(x, *self.bounds) - x0
            length = self._length(delta)
            scale = xp.where(length > self.radius, self.radius / xp.where(length > 0, length, 1.0), 1.0)
            x = x0 + delta * scale
        return xp.clip(x, *self.bounds)

    def distance(self, x: Array, x0: Array) -> Array:
        """Distance (n,) of `x` from `x0` in this norm, as a fraction of the width of the bounds."""
        xp = array_namespace(x, x0)
        delta = x - x0
        flat = xp.reshape(delta, (x.shape[0], math.prod(delta.shape[1:])))
        width = self.bounds[1] - self.bounds[0]
        if self.norm == "linf":
            return xp.max(xp.abs(flat), axis=-1) / width
        return xp.sqrt(xp.sum(flat * flat, axis=-1)) / width

    def _length(self, delta: Array) -> Array:
        xp = array_namespace(delta)
        axes = tuple(range(1, delta.ndim))
        return xp.sqrt(xp.sum(delta * delta, axis=axes, keepdims=True))

    def __str__(self) -> str:
        return f"{self.norm} {format_eps(self.eps, self.norm)}"

    def to_json(self) -> dict[str, Any]:
        """Plain types for manifests and reports."""
        return {"norm": self.norm, "eps": self.eps, "bounds": list(self.bounds)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ThreatModel:
        """Read what `to_json` wrote.

        Raises:
            BundleError: a field is missing or of the wrong type.
        """
        try:
            low, high = (float(b) for b in data["bounds"])
            return cls(data["norm"], float(data["eps"]), (low, high))
        except (ConfigError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise BundleError(f"threat model in the manifest is malformed: {error!r}") from error


def parse_eps(text: str) -> float:
    """Read `4/255` or `0.0157` as a fraction of the bounds' width.

    Raises:
        ConfigError: not a number or a fraction.
    """
    from advcal_edge.config import read_number  # imports fractions and decimal, while deployment parses no eps

    try:
        return read_number(text)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise ConfigError(f"eps `{text}` is no number; expected a fraction like `4/255` or `0.0157`") from error


def format_eps(eps: float, norm: Norm = "linf") -> str:
    """Write 4/255 and 0.25/255 in linf as fractions; other values, and radii in l2, as decimals."""
    of_255 = eps * 255
    if norm == "linf" and abs(of_255 - round(of_255, 2)) < 1e-6:
        return f"{round(of_255, 2):g}/255"
    return f"{eps:.6g}"
