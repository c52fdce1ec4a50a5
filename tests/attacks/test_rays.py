"""RayS asks what the paper's algorithm asks, sees labels only, and keeps to its limit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from toy import SPEC, THREAT, toy

from advcal_edge.attacks import AttackedModel, RayS, run_attack
from advcal_edge.attacks.rays import Rays
from advcal_edge.threat import Array, ThreatModel


class Recording:
    """Keeps every input it is asked about."""

    def __init__(self, model: AttackedModel) -> None:
        self.inner, self.asked, self.spec, self.fingerprint = model, [], SPEC, "recording"

    def __call__(self, x: Array) -> Array:
        self.asked.append(np.asarray(x).copy())
        return self.inner.runner(x)


def paper(model: AttackedModel, x: np.ndarray, y: int, queries: int, tolerance: float) -> list[np.ndarray]:
    """Algorithms 1 to 3 of the paper for one sample in linf, written as loops; what they ask, in order."""
    asked: list[np.ndarray] = []

    def wrong(distance: float, signs: np.ndarray) -> bool:
        moved = np.clip(x + distance * signs.reshape(x.shape), 0, 1).astype(np.float32)
        asked.append(moved)
        return bool(model.centers.predict(model.runner(moved[None]))[0] != y)

    size, best, reach, level, block = x.size, np.ones(x.size), 1.0, 0, 0
    while len(asked) < queries:
        width = math.ceil(size / 2**level)
        trial = best.copy()
        trial[block * width : (block + 1) * width] *= -1
        if wrong(reach, trial):
            low, high = 0.0, reach
            while high - low > tolerance:
                middle = (low + high) / 2
                low, high = (low, middle) if wrong(middle, trial) else (middle, high)
            best, reach = trial, high
        block += 1
        if block * width >= size:
            level, block = level + 1, 0
    return asked[:queries]


def test_its_questions_are_the_papers() -> None:
    model, x, y = toy(6)
    recording = Recording(model)
    attack = RayS(queries=201, tolerance=1e-3)
    blind = replace(model, runner=recording, gradient=None, place=np.asarray)
    attack.propose(blind, x, y, THREAT.with_eps(0.0), np.random.default_rng(0))  # no ball to be found inside
    assert [len(a) for a in recording.asked] == [6] * 201
    for i in range(6):
        expected = paper(model, x[i], int(y[i]), 200, 1e-3)
        for ours, theirs in zip(recording.asked[1:], expected, strict=True):
            np.testing.assert_allclose(ours[i], theirs, atol=1e-6)


class LabelsOnly:
    """Instead of embeddings, the center of the class they belong to: scores say the label and nothing else."""

    def __init__(self, model: AttackedModel) -> None:
        self.inner, self.spec, self.fingerprint = model, SPEC, "labels only"

    def __call__(self, x: Array) -> Array:
        z = self.inner.runner(x)
        return self.inner.centers.like(z)[self.inner.centers.predict(z)]


@pytest.mark.parametrize("threat", [THREAT, ThreatModel("l2", 0.4, (0.0, 1.0))], ids=str)
def test_it_sees_labels_only(threat: ThreatModel) -> None:
    model, x, y = toy(60)
    blind = replace(model, runner=LabelsOnly(model), gradient=None)
    full, labels = (run_attack(RayS(150), v, x, y, threat, route="t", seed=0) for v in (model, blind))
    np.testing.assert_array_equal(full.x_adv, labels.x_adv)
    np.testing.assert_array_equal(full.queries, labels.queries)
    assert 0.2 < full.success.mean() < 1


def test_more_labels_find_more() -> None:
    model, x, y = toy(100)
    few, many = (run_attack(RayS(q), model, x, y, THREAT, route="t", seed=0).success for q in (30, 400))
    assert many.sum() > few.sum() + 5
    assert (many | ~few).all()  # it is deterministic, so the longer search has asked all that the shorter one has


@pytest.mark.parametrize("queries", [0, 1, 2, 17, 60])
def test_the_limit_is_hard_and_queries_are_what_was_asked(queries: int) -> None:
    model, x, y = toy(30)
    recording = Recording(model)
    blind = replace(model, runner=recording, gradient=None, place=np.asarray)
    together = RayS(queries).propose(blind, x, y, THREAT, np.random.default_rng(0)).queries
    assert together.max() == queries
    assert together.sum() == sum(map(len, recording.asked))
    for i in range(30):
        recording.asked.clear()
        RayS(queries).propose(blind, x[i : i + 1], y[i : i + 1], THREAT, np.random.default_rng(0))
        assert together[i] == len(recording.asked)


def test_blocks_halve_cover_everything_and_begin_anew() -> None:
    rays = Rays.start(1, 6, 0.0, 1.0, 0.1)
    flipped = []
    for _ in range(16):
        flipped.append(np.flatnonzero(rays.trial[0] != rays.signs[0]).tolist())
        rays.answer(np.array([False]))
    halves, quarters = [[0, 1, 2], [3, 4, 5]], [[0, 1], [2, 3], [4, 5]]
    everything = [*range(6)]
    assert flipped == [everything, *halves, *quarters, *([i] for i in range(6)), everything, *halves, [0, 1]]
