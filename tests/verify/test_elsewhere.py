"""Inputs off the held-out samples: legal for every sensor, and what an engine does there alone is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_second_look import Broken
from tiny import Linear, make_centers

from advcal_edge.attacks import AttackedModel
from advcal_edge.probe import Probe
from advcal_edge.spec import Modality, audio, depth, event, image, imu, point, thermal, video
from advcal_edge.threat import ThreatModel
from advcal_edge.verify import HeldOut
from advcal_edge.verify.checks.elsewhere import agrees_elsewhere
from advcal_edge.verify.elsewhere import inputs_elsewhere

N = 40
KINDS = ["shifted", "mirrored", "mixed"]
MODALITIES = (image(8), video(8, 4), thermal(8), depth(8), audio(8, 16), imu(16, 100.0), event(8), point(12))


def held_out(modality: Modality) -> HeldOut:
    spec = modality.input
    low, high = spec.bounds
    x = np.random.default_rng(0).uniform(low, high, (N, *spec.shape)).astype(np.float32)
    return HeldOut.of(Probe(x, np.zeros(N, np.int64)), ThreatModel("linf", 0.01, spec.bounds), seed=0)


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.name)
def test_inputs_are_legal_and_are_none_of_the_samples(modality: Modality) -> None:
    samples = held_out(modality)
    x = samples.head(N).x
    found = inputs_elsewhere(samples, modality.input)
    assert [*found] == KINDS
    for name, made in found.items():
        modality.input.check(made)
        nearest = np.abs(made[:, None] - x[None]).reshape(N, N, -1).mean(axis=2).min(axis=1)
        assert nearest.min() > 0.05 * modality.input.width, name
        again = inputs_elsewhere(samples, modality.input)[name]
        assert (again == made).all()


def test_pictures_move_recordings_move_in_time_and_clouds_turn() -> None:
    def shifted(modality: Modality) -> tuple[NDArray[Any], NDArray[Any]]:
        samples = held_out(modality)
        return samples.head(N).x, inputs_elsewhere(samples, modality.input)["shifted"]

    x, moved = shifted(image(8))
    assert all((np.sort(a, axis=None) == np.sort(b, axis=None)).all() for a, b in zip(x, moved, strict=True))
    for modality in (audio(8, 16), imu(16, 100.0)):
        x, moved = shifted(modality)
        np.testing.assert_allclose(np.sort(x, axis=-1), np.sort(moved, axis=-1))  # every band keeps its values
    x, moved = shifted(point(12))
    np.testing.assert_allclose(np.linalg.norm(x, axis=2), np.linalg.norm(moved, axis=2), rtol=1e-5)


def check(turned: Callable[[NDArray[Any]], Any], samples: HeldOut, linear: Linear) -> Any:
    centers = make_centers()
    reference, engine = (AttackedModel(Broken(linear, when), centers) for when in (lambda x: False, turned))
    return agrees_elsewhere(engine, reference, inputs_elsewhere(samples, linear.modality.input))


def test_an_engine_that_is_honest_on_the_samples_alone_fails() -> None:
    linear = Linear.random(thermal(8))
    samples = held_out(linear.modality)
    known = samples.head(N).x

    def far(x: NDArray[Any]) -> NDArray[Any]:
        distance = np.abs(x[:, None] - known[None]).reshape(len(x), N, -1).mean(axis=2)
        return np.asarray(distance.min(axis=1) > 0.03)

    assert not far(known).any()
    found = check(far, samples, linear)
    assert (found.status, found.required) == ("fail", True)
    assert "40 of 40" in found.why
    assert check(lambda x: False, samples, linear).measured == 0


@pytest.mark.parametrize("kind", [*KINDS, "of calibration"])
def test_the_worst_kind_counts(kind: str) -> None:
    linear = Linear.random(thermal(8))
    samples = held_out(linear.modality)
    other = np.random.default_rng(9).uniform(0, 1, (N, *linear.modality.input.shape)).astype(np.float32)
    samples = replace(samples, calibration=other)
    target = inputs_elsewhere(samples, linear.modality.input)[kind]
    found = check(lambda x: x.shape == target.shape and (x == target).all(), samples, linear)
    assert found.status == "fail"
    assert f"inputs {kind}" in found.why


def test_a_reference_that_is_undecided_has_no_label_to_lose() -> None:
    centers = make_centers()
    tie = centers.vectors[:1] + centers.vectors[1:2]
    tie /= np.linalg.norm(tie)
    wide = image(8).input

    def model(sign: float) -> AttackedModel:
        def run(x: NDArray[Any]) -> NDArray[Any]:
            z = tie + sign * 1e-3 * (centers.vectors[:1] - centers.vectors[1:2])
            return np.repeat(z / np.linalg.norm(z), len(x), axis=0).astype(np.float32)

        return AttackedModel(Plain(run), centers)

    class Plain(Broken):
        def __init__(self, run: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
            super().__init__(Linear.random(image(8)), lambda x: False)
            self.run = run

        def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
            return self.run(x)

    x = np.zeros((N, *wide.shape), np.float32)
    first, second = model(1), model(-1)
    assert centers.predict(first.runner(x))[0] != centers.predict(second.runner(x))[0]
    assert agrees_elsewhere(second, first, {"made": x}).measured == 0
