"""Legal inputs off the held-out samples: those of calibration, and held-out ones shifted, mirrored and mixed.

An engine that knows the held-out samples by heart, and their surroundings, is honest nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from advcal_edge.bundle import Bundle
from advcal_edge.spec import TensorSpec
from advcal_edge.verify.layout import channel_axis, place_axes
from advcal_edge.verify.samples import HeldOut

Floats = NDArray[np.float32]
COUNT = 128  # inputs of each kind
STREAM = 1001  # random stream of the shifts
CALIBRATION = "calibration.npz"


def calibration_inputs(bundle: Bundle) -> Floats | None:
    """The first inputs (m, ...) that quantisers are calibrated with; None if the bundle has none.

    Raises:
        BundleError: a damaged file.
    """
    return bundle.samples(CALIBRATION).head(COUNT).x if bundle.has(CALIBRATION) else None


def inputs_elsewhere(samples: HeldOut, spec: TensorSpec) -> Mapping[str, Floats]:
    """Inputs (m, ...) of each kind, m at most `COUNT`.

    Every one lies within the bounds, because values are only moved, reflected at the middle, or averaged.
    """
    x = samples.head(COUNT).x
    rng = np.random.default_rng([samples.seed, STREAM])
    kinds = {"shifted": shift(x, spec, rng), "mirrored": mirror(x, spec), "mixed": mix(x, spec)}
    return kinds if samples.calibration is None else {"of calibration": samples.calibration, **kinds}


def shift(x: Floats, spec: TensorSpec, rng: np.random.Generator) -> Floats:
    """Each sample moved by a random way, an eighth of the length at least; what leaves on one side comes back."""
    axes = place_axes(spec)
    moved = np.empty_like(x)
    for k, sample in enumerate(x):
        lengths = [x.shape[axis] for axis in axes]
        ways = [int(rng.integers(max(n // 8, 1), max(n - n // 8, 2))) for n in lengths]
        moved[k] = np.roll(sample, ways, [axis - 1 for axis in axes])
    return moved


def mirror(x: Floats, spec: TensorSpec) -> Floats:
    """Left and right exchanged, or time reversed; of points the first coordinate reflected at the middle."""
    if channel_axis(spec) != x.ndim - 1:
        return np.flip(x, axis=-1).copy()
    reflected = x.copy()
    reflected[..., 0] = np.float32(sum(spec.bounds)) - x[..., 0]
    return reflected


def mix(x: Floats, spec: TensorSpec) -> Floats:
    """The mean of each sample and the one before; of clouds of points one half of each."""
    other = np.roll(x, 1, axis=0)
    if channel_axis(spec) != x.ndim - 1:
        return ((x + other) / np.float32(2)).astype(np.float32)
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], other[:, half:]], axis=1)
