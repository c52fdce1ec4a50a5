"""Square attack (Andriushchenko et al. 2020, arXiv 1912.00049): random windows, scores, no gradient.

In linf (algorithm 2) all values are at the edge of the ball, and a move sets one window to one sign per channel. In l2
(algorithm 3) a change is a sum of pyramids: two adjacent boxes of opposite sign, each highest in its middle. A move
takes the length in two windows, plus what the sphere still allows, and puts a new pyramid of that length into the
first; the second is emptied. Both work for any number of axes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from advcal_edge.attacks.base import Attack, AttackedModel, Proposal, planned, to_numpy
from advcal_edge.attacks.losses import LOSSES, NEED_CLEAN, own_first
from advcal_edge.registry import choose
from advcal_edge.threat import Array, ThreatModel

Floats = NDArray[np.float32]
Index = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Square:
    """Up to `queries` forward passes per sample; `share` is the part of the input that the first windows cover."""

    queries: int = 1000
    share: float = 0.8
    loss: str = "margin"

    @property
    def most_passes(self) -> tuple[int, int]:
        """Passes of one sample at most: forward alone, and none with the gradient."""
        return self.queries, 0

    def propose(
        self, model: AttackedModel, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator
    ) -> Proposal:
        """Search within `threat` around x (n, c, ...), or (n, ..., c) if the layout has the channels last."""
        xp, loss = array_namespace(x), choose("loss", self.loss, LOSSES)
        looks = int(self.loss in NEED_CLEAN)
        clean = model.runner(x) if looks else None
        result, used = xp.asarray(x, copy=True), np.full(x.shape[0], looks, dtype=np.int64)
        alive = np.arange(x.shape[0])
        last = model.runner.spec.layout.endswith("c")  # as for points: windows then run over the points
        value = np.full(len(alive), -np.inf, dtype=np.float32)
        delta = np.zeros((x.shape[0], x.shape[-1], *x.shape[1:-1]) if last else tuple(x.shape), dtype=np.float32)
        for query in range(self.queries - looks):
            share = self.share * halvings(query, self.queries)
            trial = first(rng, delta, threat) if query == 0 else move(rng, delta, threat, share)
            change = model.place(np.moveaxis(trial, 1, -1).copy() if last else trial)
            candidate = threat.project(x + threat.radius * change, x)
            z = model.runner(candidate)
            loss_value, fooled = to_numpy(loss(z, y, clean, model.centers)[0]), to_numpy(model.fooled(z, y))
            used[alive] += 1
            better = fooled | (loss_value > value)
            if threat.norm == "l2" and threat.radius:  # what the bounds have cut off can be used by the next move
                cut = to_numpy((candidate - x) / threat.radius)
                trial = np.moveaxis(cut, -1, 1) if last else cut
            delta[better], value[better] = trial[better], loss_value[better]
            result[model.place(alive[better])] = candidate[model.place(better)]
            if fooled.any():
                stay, mask = ~fooled, model.place(~fooled)
                alive, delta, value = alive[stay], delta[stay], value[stay]
                clean = own_first(clean, mask) if looks else None
                x, y = x[mask], y[mask]
            if not len(alive):
                break
        return Proposal(result, used)


@planned("Square", route="black box", order=10, summary="Square {square_queries}")
def plan_square(square_queries: int) -> list[Attack]:
    """The attack that needs scores only."""
    return [Square(queries=square_queries)] if square_queries else []


@planned("selective Square", route="abstention by scores", order=10)
def plan_selective(square_queries: int) -> list[Attack]:
    """Square on an engine that may abstain: after answers that are wrong and sure."""
    return [Square(queries=square_queries, loss="selective")] if square_queries else []


def first(rng: np.random.Generator, delta: NDArray[np.float32], threat: ThreatModel) -> NDArray[np.float32]:
    """The first change of all samples, shaped like `delta` (n, c, *sides), in units of the radius."""
    return (stripes if threat.norm == "linf" else tiles)(rng, delta.shape)


def move(
    rng: np.random.Generator, delta: NDArray[np.float32], threat: ThreatModel, share: float
) -> NDArray[np.float32]:
    """The next trial, from the best change so far and the part of the input that windows cover."""
    return (repaint if threat.norm == "linf" else shift)(rng, delta, share)


def stripes(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """First trial: each channel striped along the last axis, constant along the others, in {-1, 1}."""
    narrow = (shape[0], shape[1], *(1,) * (len(shape) - 3), shape[-1])
    return np.broadcast_to(random_signs(rng, narrow), shape).copy()


def repaint(rng: np.random.Generator, delta: Floats, share: float) -> Floats:
    """`delta` (n, c, *sides) with one window per sample, `share` of its places, set to one sign per channel."""
    n, channels, *sides = delta.shape
    widths = [min(max(round(side * share ** (1 / len(sides))), 1), max(side - 1, 1)) for side in sides]
    painted = delta.copy()
    window = random_windows(rng, delta.shape, tuple(widths))
    painted[window] = random_signs(rng, (n, channels, *(1,) * len(sides)))
    return painted


def tiles(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """First trial (n, c, *sides), of length one: about five pyramids along each axis, with random signs."""
    n, channels, *sides = shape
    widths = [max(side // 5, 1) for side in sides]
    delta = np.zeros(shape, dtype=np.float32)
    starts = [range((side % width) // 2, side - width + 1, width) for side, width in zip(sides, widths, strict=True)]
    for corner in itertools.product(*starts):
        place = tuple(slice(start, start + width) for start, width in zip(corner, widths, strict=True))
        delta[(slice(None), slice(None), *place)] = pyramids(rng, n, tuple(widths)) * random_signs(
            rng, (n, channels, *(1,) * len(sides))
        )
    return np.divide(delta, length(delta, 1), dtype=np.float32)


def shift(rng: np.random.Generator, delta: Floats, share: float) -> Floats:
    """Move the length of two windows of `delta` (n, c, *sides), at most one long, into one; exactly one long after."""
    n, channels, *sides = delta.shape
    widths = tuple(odd(side * share ** (1 / len(sides)), side) for side in sides)
    first, second = random_windows(rng, delta.shape, widths), random_windows(rng, delta.shape, widths)
    kept = delta.copy()
    kept[first], kept[second] = 0, 0
    held = length(delta, 2) ** 2 - length(kept, 2) ** 2
    free = np.maximum(1 - length(delta, 1) ** 2, 0)
    old = delta[first]
    new = pyramids(rng, n, widths) * random_signs(rng, (n, channels, *(1,) * len(sides))) + old / length(old, 2)
    kept[first] = new / length(new, 2) * np.sqrt(free / channels + np.maximum(held, 0))
    vanished = length(kept, 1) < 1e-6  # where a new pyramid has cancelled the only window
    moved: Floats = np.where(vanished, delta / length(delta, 1), kept / length(kept, 1))
    return moved


def pyramids(rng: np.random.Generator, n: int, widths: tuple[int, ...]) -> Floats:
    """One pyramid of length one for each of n samples, (n, 1, *widths), split along an axis drawn for each."""
    shapes = np.stack([pyramid(widths, axis) for axis in range(len(widths))])
    return shapes[rng.integers(0, len(widths), size=n)][:, None]


def pyramid(widths: tuple[int, ...], axis: int) -> Floats:
    """Two halves along `axis`, the second negative; the total length is one (eq. 3)."""
    half = widths[axis] // 2
    parts = [box((*widths[:axis], size, *widths[axis + 1 :])) for size in (half, widths[axis] - half)]
    whole = np.concatenate([parts[0], -parts[1]], axis=axis)
    unit: Floats = (whole / np.linalg.norm(whole)).astype(np.float32)
    return unit


def box(sides: tuple[int, ...]) -> NDArray[Any]:
    """Nested boxes around the middle; the m-th adds 1 / (m + 1)^2 where it covers."""
    if 0 in sides:
        return np.zeros(sides)
    deepest = max(side // 2 + 1 for side in sides)
    layers = 1 / np.arange(1, deepest + 1) ** 2
    covering = np.cumsum(layers[::-1])[::-1]  # by the distance from the middle
    distance = np.zeros(sides, dtype=np.int64)
    for axis, side in enumerate(sides):
        along = np.abs(np.arange(side) - side // 2).reshape([-1 if a == axis else 1 for a in range(len(sides))])
        distance = np.maximum(distance, along)
    return covering[distance]


def odd(width: float, side: int) -> int:
    """`width` rounded to the next odd number of at least three, if the side is that long."""
    return min(max(2 * math.floor(round(width) / 2) + 1, 3), side)


def length(delta: Floats, first: int) -> Floats:
    """Length over all axes from `first` on, kept as axes of size one; never zero."""
    axes = tuple(range(first, delta.ndim))
    lengths: Floats = np.maximum(np.sqrt(np.square(delta).sum(axis=axes, keepdims=True)), np.float32(1e-12))
    return lengths


def random_windows(rng: np.random.Generator, shape: tuple[int, ...], widths: tuple[int, ...]) -> Index:
    """An index into arrays of `shape` (n, c, *sides) for a window of `widths` at a random place of each sample."""
    axes = len(shape)
    index = [_along(np.arange(shape[0]), 0, axes), _along(np.arange(shape[1]), 1, axes)]
    for axis, (side, width) in enumerate(zip(shape[2:], widths, strict=True), start=2):
        start = rng.integers(0, side - width + 1, size=shape[0])
        index.append(_along(start, 0, axes) + _along(np.arange(width), axis, axes))
    return tuple(index)


def random_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Fair -1 or 1."""
    return rng.choice(np.array([-1, 1], dtype=np.float32), size=shape)


def halvings(query: int, queries: int) -> float:
    """Factor on the share of a window: halved at fixed points of the paper's schedule of 10,000 queries.

    A longer search stretches the schedule. A shorter one gets through a quarter of it, or as far as it comes. To fit in
    the whole schedule, as other implementations do, spends most of a small budget on windows of a few values.
    """
    horizon = max(queries, min(4 * queries, 10_000))
    position = query * 10_000 // horizon
    milestones = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    return 0.5 ** sum(position > milestone for milestone in milestones)


def _along(values: NDArray[Any], axis: int, axes: int) -> NDArray[Any]:
    return values.reshape([-1 if a == axis else 1 for a in range(axes)])
