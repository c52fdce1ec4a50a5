"""Second look: inputs judged again in other batches, on the sensor's grid, nearer to the sample, and shifted.

An engine may do right on exactly what attacks show it, whole batches of inputs at the surface of the ball, and fail on
what a robot shows it: one frame, in whole grey levels, changed by little, or in a colour that grey data never have.
Reference and engine judge the same inputs, so an honest engine loses what its reference loses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcal_edge.report.results import SECOND_LOOK
from advcal_edge.report.second_look import CHANNELS, CLEAN, CRAFTED
from advcal_edge.retrieval import Rank, label_rank
from advcal_edge.spec import Modality
from advcal_edge.verify.block import Attempt, Bools
from advcal_edge.verify.checks.comparison import round_to_grid
from advcal_edge.verify.layout import channel_axis, row_axis
from advcal_edge.verify.model_set import REFERENCE, ModelSet, embed
from advcal_edge.verify.samples import Samples

Floats = NDArray[np.float32]
SIZES = {**CRAFTED, **CLEAN}
SMALLEST = 1 / 16  # of a change, for random parts: below the eighth that is always tried
COLOUR = 1000  # random stream of the colours; those of the variants are their numbers


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Answers of one model: ranks (n,) of the true labels and decision margins (n,); 0 for samples it was not asked."""

    rank: Rank
    margins: NDArray[np.float64]


Report = Callable[[Floats, Mapping[str, Judged]], None]
"""Called with inputs (n, ...) and the answers per judge, once per variant."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Inputs x_adv (m, ...) crafted of the samples x (m, ...), and what is needed to change them within the ball."""

    samples: Samples
    x_adv: Floats
    modality: Modality
    rng: np.random.Generator

    @property
    def x(self) -> Floats:
        """Clean samples (m, ...)."""
        return self.samples.x

    def inside(self, x: Floats) -> Floats:
        """The nearest inputs within the ball around the clean samples."""
        projected: Floats = self.samples.threat.project(x, self.x).astype(np.float32)
        return projected

    def part(self, share: float | Floats) -> Floats:
        """That share of the change, one number or one per sample (m,)."""
        return self.inside(self.x + (self.x_adv - self.x) * self.per_sample(np.float32(share)))

    def per_sample(self, values: Floats | np.float32) -> Floats:
        """Numbers (m,) or one number, ready to be multiplied with inputs."""
        return np.reshape(values, (-1, *(1,) * (self.x.ndim - 1))).astype(np.float32)

    def random_shares(self) -> Floats:
        """A share (m,) per sample between `SMALLEST` and one, each octave as likely."""
        return np.exp(self.rng.uniform(np.log(SMALLEST), 0, len(self.x))).astype(np.float32)

    def shifted(self, where: Bools) -> Floats:
        """The clean samples, all values `where` (m, ...) moved alike, by the whole radius or by a part, up or down."""
        size = np.where(self.rng.random(len(self.x)) < 0.5, 1, self.random_shares()) * self.samples.threat.radius
        size = size * self.rng.choice((-1, 1), len(self.x))
        if self.samples.threat.norm == "l2":
            size = size / np.sqrt(where.reshape(len(where), -1).sum(axis=1))
        return self.inside(self.x + where.astype(np.float32) * self.per_sample(size.astype(np.float32)))

    def one_of(self, axis: int) -> Bools:
        """Where (m, ...) the index along an axis is the one drawn for the sample."""
        length = self.x.shape[axis]
        place = np.arange(length).reshape(-1, *(1,) * (self.x.ndim - axis - 1))
        drawn = self.rng.integers(length, size=len(self.x)).reshape(-1, *(1,) * (self.x.ndim - 1))
        return np.broadcast_to(place == drawn, self.x.shape)


def on_grid(look: Look, x: Floats) -> Floats:
    """The nearest values the sensor can deliver; where those leave the ball, the next ones toward the clean sample."""
    threat, near = look.samples.threat, round_to_grid(x, look.modality)
    step = np.float32(look.modality.input.width / (2**look.modality.bit_depth - 1))
    beyond = np.abs(near - look.x) > np.abs(x - look.x)
    toward = np.where(beyond, near - step * np.sign(x - look.x), near)
    outside = threat.distance(near, look.x) > threat.eps * (1 + 1e-4)
    return look.inside(np.where(look.per_sample(outside.astype(np.float32)) > 0, toward, near).astype(np.float32))


def add_noise(look: Look, x: Floats) -> Floats:
    """Each value a level of the sensor's grid up, down, or left as it is."""
    step = np.float32(look.modality.input.width / (2**look.modality.bit_depth - 1))
    return look.inside(x + step * look.rng.integers(-1, 2, x.shape).astype(np.float32))


def everywhere(look: Look) -> Bools:
    """All values of all samples."""
    return np.ones(look.x.shape, np.bool_)


VARIANTS: Mapping[str, Callable[[Look], Floats]] = {
    "as crafted, alone": lambda look: look.x_adv,
    "as crafted, in even batches": lambda look: look.x_adv,
    "as crafted, in odd batches": lambda look: look.x_adv,
    "rounded to the sensor's grid": lambda look: on_grid(look, look.x_adv),
    "half of the change": lambda look: look.part(1 / 2),
    "a quarter of the change": lambda look: look.part(1 / 4),
    "an eighth of the change": lambda look: look.part(1 / 8),
    "a random part of the change": lambda look: look.part(look.random_shares()),
    "one level of noise added": lambda look: add_noise(look, look.x_adv),
    "clean, alone": lambda look: look.x,
    "clean, on the sensor's grid": lambda look: on_grid(look, look.x),
    "clean, one level of noise added": lambda look: add_noise(look, look.x),
    "all values shifted": lambda look: look.shifted(everywhere(look)),
    "a row shifted": lambda look: look.shifted(look.one_of(row_axis(look.modality.input))),
    CHANNELS: lambda look: look.shifted(look.one_of(channel_axis(look.modality.input) or 1)),
}
"""How the inputs of each variant are made; `report.second_look` lists their batches."""


def planned_looks(sides: Sequence[str], modality: Modality) -> Iterator[tuple[str, str]]:
    """Variant and model of every look, in order; `sides` are the models that inputs were crafted on."""
    yield from ((name, side) for name in CRAFTED for side in sides)
    yield from ((name, REFERENCE) for name in CLEAN if name != CHANNELS or has_channels(modality))


def rows_of(look: str, side: str, sides: Sequence[str], right: Bools, first: int) -> Bools:
    """Where (n,) a look meets samples of the `right` ones (n,), which start at `first`: on either side in turn."""
    if look in CLEAN:
        return right
    turn: Bools = (np.arange(len(right)) + first) % len(sides) == sides.index(side)
    return right & turn


def look_again(
    models: ModelSet,
    engine: str,
    samples: Samples,
    right: Bools,
    latest: Mapping[str, Floats],
    modality: Modality,
    judged: Report,
) -> Iterator[Attempt]:
    """Have reference and `engine` judge every variant of the samples that both get `right` (n,).

    `latest` holds per model the last inputs (n, ...) crafted on it: those that fooled it, or withstood the strongest
    attack. Samples take turns: inputs crafted on either side fool that side a little more often than the other.
    """
    sides = [name for name in (REFERENCE, engine) if name in latest]
    everything, x_adv = np.ones(len(samples), np.bool_), samples.x.copy()
    for side in sides:
        mine = rows_of(next(iter(CRAFTED)), side, sides, everything, samples.first)
        x_adv[mine] = latest[side][mine]
    looks: dict[str, list[str]] = {}
    for name, side in planned_looks(sides, modality):
        looks.setdefault(name, []).append(side)
    x_adv = add_colour(x_adv, samples, modality, (np.arange(len(samples)) // 2) % 2 == 0)
    for number, (name, crafted_on) in enumerate(looks.items()):
        rng = np.random.default_rng([samples.seed, samples.first, number])
        x = VARIANTS[name](Look(samples, x_adv, modality, rng))
        found = {
            judge: judge_in_batches(models, judge, x, samples, right, SIZES[name]) for judge in (REFERENCE, engine)
        }
        judged(x, found)
        for side in crafted_on:
            rows = rows_of(name, side, sides, right, samples.first)
            own = {judge: np.where(rows, each.rank, 0) for judge, each in found.items()}
            yield Attempt(SECOND_LOOK, name, side, engine, rows, rows.astype(np.int64), own)


def has_channels(modality: Modality) -> bool:
    """Has an input several channels?"""
    axis = channel_axis(modality.input)
    return axis is not None and modality.input.shape[axis - 1] > 1


def add_colour(x_adv: Floats, samples: Samples, modality: Modality, chosen: Bools) -> Floats:
    """Inputs (n, ...) whose change differs between channels, for those of the `chosen` whose channels are all equal.

    An encoder that averages channels has one gradient for all of them, so that attacks leave grey data grey.
    """
    if not has_channels(modality):
        return x_adv
    axis = channel_axis(modality.input) or 1
    grey = (np.ptp(samples.x, axis=axis) == 0).reshape(len(x_adv), -1).all(axis=1) & chosen
    rng = np.random.default_rng([samples.seed, samples.first, COLOUR])
    shape = [len(x_adv), *(1,) * (x_adv.ndim - 1)]
    shape[axis] = x_adv.shape[axis]
    factor = rng.uniform(-1, 1, shape)
    factor /= np.abs(factor).max(axis=axis, keepdims=True)
    coloured = samples.threat.project(samples.x + (x_adv - samples.x) * factor.astype(np.float32), samples.x)
    return np.where(grey.reshape(-1, *(1,) * (x_adv.ndim - 1)), coloured, x_adv).astype(np.float32)


def judge_in_batches(
    models: ModelSet, judge: str, x: Floats, samples: Samples, rows: Bools, sizes: tuple[int, ...]
) -> Judged:
    """What a model answers to the samples at `rows` (n,), judged in batches of these sizes."""
    model, rank, margins = models.all[judge], np.zeros(len(samples), np.int64), np.zeros(len(samples))
    places = np.flatnonzero(rows)
    if len(places):
        z = np.concatenate([embed(model, x[places[piece]]) for piece in pieces(len(places), sizes)])
        rank[places], margins[places] = label_rank(model.centers, z, samples.y[places]), model.centers.margins(z)
    return Judged(rank, margins)


def pieces(n: int, sizes: tuple[int, ...]) -> Iterator[slice]:
    """Cut n samples into batches of these sizes, so that as many samples as can be are in batches of each."""
    covered, start = dict.fromkeys(sizes, 0), 0
    while start < n:
        size = min(sizes, key=lambda one: (covered[one], one))
        yield slice(start, min(start + size, n))
        covered[size] += size
        start += size
