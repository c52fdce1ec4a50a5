"""What an attacker may change: a norm ball around a sample, inside the sensor's bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from array_api_compat import array_namespace

from advcal_edge.errors import BundleError, ConfigError

Array = Any  # numpy or torch, on any device: everything typed so is written against the array API
Norm = Literal["linf", "l2"]


@dataclass(frozen=True, slots=True)
class ThreatModel:
    """A ball of radius `eps` (a fraction of the width of `bounds`) in `norm`, cut by `bounds`."""

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
            raise ConfigError(
                f"eps must lie in [0, 1], a fraction of the width of [{low:g}, {high:g}]: found {self.eps:g}",
                hint="write pixel budgets as `4/255`",
            )

    @property
    def radius(self) -> float:
        """`eps` in the units of the input."""
        return self.eps * (self.bounds[1] - self.bounds[0])

    def with_eps(self, eps: float) -> ThreatModel:
        """The same ball with another radius."""
        return ThreatModel(self.norm, eps, self.bounds)

    def project(self, x: Array, x0: Array) -> Array:
        """A legal point close to `x` around a legal `x0`, both (n, ...), in linf the nearest; the one place that clips.

        In l2 the bounds cut before the ball does: the other way round, what they cut off an attack's step would shorten
        it, and half the pixels of a picture may lie at a bound.
        """
        xp = array_namespace(x, x0)
        if self.norm == "linf":
            x = xp.minimum(xp.maximum(x, x0 - self.radius), x0 + self.radius)  # half the seconds of clip in torch
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
        return f"{self.norm} {format_eps(self.eps)}"

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
    from fractions import Fraction  # with decimal behind it: a robot reads no eps

    try:
        if "e" in text.lower():  # an exponent could name a number of any length
            return float(text)
        above, slash, below = text.partition("/")
        return float(Fraction(above.strip()) / Fraction(below.strip())) if slash else float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise ConfigError(f"eps `{text}` is no number; expected a fraction like `4/255` or `0.0157`") from error


def format_eps(eps: float) -> str:
    """Write 4/255 and 0.25/255 as people say it; other values as decimals."""
    of_255 = eps * 255
    if abs(of_255 - round(of_255, 2)) < 1e-6:
        return f"{round(of_255, 2):g}/255"
    return f"{eps:.6g}"
