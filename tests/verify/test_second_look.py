"""Inputs judged again: all in the ball, each what its name says, and none that an honest engine alone would lose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from tiny import Linear, make_centers

from advcal_edge.attacks import AttackedModel
from advcal_edge.report.second_look import CHANNELS, CLEAN, CRAFTED
from advcal_edge.spec import Modality, TensorSpec, audio, image, imu, point, thermal, video
from advcal_edge.threat import Norm, ThreatModel
from advcal_edge.verify import ModelSet, Samples
from advcal_edge.verify.block import Attempt
from advcal_edge.verify.model_set import REFERENCE
from advcal_edge.verify.second_look import VARIANTS, Look, add_colour, look_again, on_grid, pieces

MODALITIES = (image(8), video(8, 3), thermal(8), audio(8, 12), imu(16, 100.0), point(10))
N = 64


def samples(modality: Modality, norm: Norm = "linf", n: int = N) -> Samples:
    """Samples on the sensor's grid, whose channels are equal, and a ball of four levels of 255."""
    spec, rng = modality.input, np.random.default_rng(0)
    levels = 2**modality.bit_depth - 1
    one = (1, *spec.shape[1:]) if spec.layout[0] == "c" else spec.shape
    x = rng.integers(0, levels + 1, (n, *one)) / levels * spec.width + spec.bounds[0]
    threat = ThreatModel("linf", 4 / 255, spec.bounds).with_norm(norm, spec.shape)
    return Samples(np.broadcast_to(x, (n, *spec.shape)).astype(np.float32), np.zeros(n, np.int64), threat, seed=3)


def crafted(of: Samples) -> NDArray[np.float32]:
    """Inputs at the surface of the ball, changed alike in all channels."""
    direction = np.random.default_rng(1).standard_normal((len(of), 1, *of.x.shape[2:]))
    return of.threat.project(of.x + np.broadcast_to(direction, of.x.shape).astype(np.float32), of.x)


def look(modality: Modality, norm: Norm = "linf") -> Look:
    of = samples(modality, norm)
    return Look(of, crafted(of), modality, np.random.default_rng(5))


def test_every_variant_that_a_report_names_is_made() -> None:
    assert [*VARIANTS] == [*CRAFTED, *CLEAN]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.name)
def test_every_variant_is_legal_and_in_the_ball(modality: Modality, norm: Norm) -> None:
    for name, make in VARIANTS.items():
        at = look(modality, norm)
        x = make(at)
        modality.input.check(x)
        assert at.samples.threat.distance(x, at.x).max() <= at.samples.threat.eps * (1 + 1e-4), name
        moved = np.abs(x - at.x).max() > 1e-5 * modality.input.width  # less than a level of 16 bits
        assert moved == (name not in ("clean, alone", "clean, on the sensor's grid")), name


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("modality", [image(8), thermal(8)], ids=lambda modality: modality.name)
def test_what_is_on_the_grid_is_in_whole_levels_and_nearly_as_far(modality: Modality, norm: Norm) -> None:
    at = look(modality, norm)
    x = on_grid(at, at.x_adv)
    assert np.abs(x * 255 - np.rint(x * 255)).max() < 1e-3
    before, after = (at.samples.threat.distance(y, at.x).mean() for y in (at.x_adv, x))
    assert 0.6 * before < after <= before * (1 + 1e-4)


@pytest.mark.parametrize("share", [1 / 2, 1 / 4, 1 / 8])
def test_a_part_of_the_change_is_that_part(share: float) -> None:
    at = look(image(8))
    np.testing.assert_allclose(at.part(share) - at.x, share * (at.x_adv - at.x), atol=1e-6)


def test_random_parts_reach_every_octave() -> None:
    at = look(thermal(8))
    shares = at.samples.threat.distance(VARIANTS["a random part of the change"](at), at.x) / at.samples.threat.eps
    for low in (1 / 16, 1 / 8, 1 / 4, 1 / 2):
        assert ((low <= shares) & (shares < 2 * low)).sum() > N / 16


def test_shifts_are_of_all_values_one_row_or_one_channel() -> None:
    of = samples(image(8))
    middle = replace(of, x=np.full_like(of.x, 0.5))
    at = Look(middle, middle.x, image(8), np.random.default_rng(5))
    for name, moved in (("all values shifted", 192), ("a row shifted", 24), (CHANNELS, 64)):
        change = (VARIANTS[name](at) - 0.5).reshape(N, -1)
        sizes = np.abs(change).max(axis=1)
        assert ((np.abs(change) > 0).sum(axis=1) == moved).all(), name
        assert all(len(np.unique(row[row != 0].round(6))) == 1 for row in change)
        assert (sizes > 4 / 255 - 1e-6).mean() == pytest.approx(1 / 2, abs=0.2)  # the others by less
        assert 0.2 < (change.sum(axis=1) > 0).mean() < 0.8


def test_grey_samples_get_colour_and_others_do_not() -> None:
    modality, of = image(8), samples(image(8))
    every = np.ones(N, np.bool_)
    x = crafted(of)
    assert (np.ptp(x, axis=1) == 0).all()
    coloured = add_colour(x, of, modality, every)
    assert (np.ptp(coloured, axis=1).reshape(N, -1).max(axis=1) > 0).all()
    assert of.threat.distance(coloured, of.x).max() <= of.threat.eps * (1 + 1e-4)
    assert (add_colour(x, of, modality, ~every) == x).all()
    bright = replace(of, x=of.threat.project(of.x + np.array([0, 0, 0.01], np.float32).reshape(3, 1, 1), of.x))
    assert (add_colour(x, bright, modality, every) == x).all()  # these have colour of their own
    grey = samples(thermal(8))
    assert (add_colour(crafted(grey), grey, thermal(8), every) == crafted(grey)).all()


@given(n=st.integers(0, 70), sizes=st.sets(st.integers(1, 32), min_size=1, max_size=4))
def test_pieces_cover_all_samples_once_and_every_size_alike(n: int, sizes: set[int]) -> None:
    made = list(pieces(n, tuple(sizes)))
    assert [k for piece in made for k in range(piece.start, piece.stop)] == list(range(n))
    assert all(piece.stop - piece.start in sizes for piece in made[:-1])
    covered = {size: sum(size for p in made[:-1] if p.stop - p.start == size) for size in sizes}
    assert max(covered.values()) - min(covered.values()) <= max(sizes)


class Broken:
    """An honest runner whose embeddings are turned round where a batch meets a condition."""

    def __init__(self, linear: Linear, turned: Callable[[NDArray[Any]], Any]) -> None:
        self.linear, self.turned = linear, turned

    @property
    def spec(self) -> TensorSpec:
        return self.linear.modality.input

    @property
    def fingerprint(self) -> str:
        return "broken"

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        z = self.linear.embed(x).astype(np.float32)
        turned = np.broadcast_to(self.turned(x), len(x))
        return np.where(turned[:, None], -z, z)


def again(turned: Callable[[NDArray[Any]], Any]) -> dict[str, int]:
    """How many samples the engine loses on each variant where the reference loses none or others."""
    linear, modality = Linear.random(image(8)), image(8)
    of = samples(modality)
    centers = make_centers()
    of = replace(of, y=centers.predict(linear.embed(of.x).astype(np.float32)).astype(np.int64))
    honest, broken = (AttackedModel(Broken(linear, when), centers) for when in (lambda x: False, turned))
    models = ModelSet(honest, {"engine": broken})
    latest = {REFERENCE: crafted(of), "engine": crafted(of)}
    every = np.ones(N, np.bool_)
    attempts: list[Attempt] = list(look_again(models, "engine", of, every, latest, modality, lambda x, ranks: None))
    lost: dict[str, int] = {}
    for attempt in attempts:
        alone = (attempt.rank["engine"] > 0) & (attempt.rank[REFERENCE] == 0)
        lost[attempt.attack] = lost.get(attempt.attack, 0) + int(alone.sum())
    assert [*lost] == [*CRAFTED, *CLEAN]
    return {name: count for name, count in lost.items() if count}


def apart(x: NDArray[Any]) -> NDArray[Any]:
    """Mean difference of two channels (n,), in levels of 255."""
    difference: NDArray[Any] = 255 * np.abs(x[:, 0] - x[:, 1]).mean(axis=(1, 2))
    return difference


def test_an_honest_engine_loses_nothing() -> None:
    assert again(lambda x: False) == {}


@pytest.mark.parametrize(
    ("turned", "names"),
    [
        (lambda x: len(x) == 1, {"as crafted, alone", "clean, alone", "an eighth of the change"}),
        (lambda x: len(x) == 7, {"as crafted, in odd batches"}),
        (lambda x: len(x) == 8, {"as crafted, in even batches"}),
        (lambda x: (len(x) == 1) & (apart(x) > 0.2), {"as crafted, alone"}),
        (lambda x: apart(x) > 2, {"as crafted, alone", CHANNELS}),
        (lambda x: (apart(x) > 0.02) & (apart(x) < 0.3), {"an eighth of the change", "a random part of the change"}),
        (
            lambda x: (np.abs(x * 255 - np.rint(x * 255)).max(axis=(1, 2, 3)) < 1e-3) & (apart(x) > 0.1),
            {"rounded to the sensor's grid", "clean, one level of noise added"},
        ),
    ],
)
def test_damage_that_attacks_do_not_meet_is_seen(turned: Callable[[NDArray[Any]], Any], names: set[str]) -> None:
    lost = again(turned)
    assert names <= lost.keys()
    assert min(lost[name] for name in names) >= 3
