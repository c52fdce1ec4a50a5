"""Square's moves: shapes of windows, lengths, the schedule, and every layout a sensor has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional as F
from toy import DIM, SIDE, SPEC, THREAT, centers, toy

from advcal_edge import spec
from advcal_edge.attacks import Square, run_attack
from advcal_edge.attacks.square import halvings, length, odd, pyramid, random_windows, repaint, shift, stripes, tiles
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import ThreatModel


def test_it_begins_with_stripes() -> None:
    start = stripes(np.random.default_rng(0), (4, 3, 8, 8))
    np.testing.assert_array_equal(start, np.broadcast_to(start[:, :, :1], start.shape))
    assert set(np.unique(start)) == {-1.0, 1.0}
    assert (start[:, :, 0].std(axis=-1) > 0).all()


def test_one_window_of_one_sign_a_channel() -> None:
    painted = repaint(np.random.default_rng(0), np.zeros((5, 2, 10, 10), np.float32), 0.25)
    for sample in painted:
        for channel in sample:
            rows, columns = np.nonzero(channel)
            assert len(rows) == 25
            assert np.ptp(rows) == np.ptp(columns) == 4
            assert len(np.unique(channel[rows, columns])) == 1


@pytest.mark.parametrize(("query", "expected"), [(10, 1), (11, 0.5), (51, 0.25), (201, 0.125), (8001, 0.5**9)])
def test_windows_shrink_at_the_papers_milestones(query: int, expected: float) -> None:
    assert halvings(query, 10_000) == expected
    assert halvings(query * 2, 20_000) == expected
    assert halvings(query, 5_000) == expected


def test_a_short_search_gets_through_a_quarter_of_the_schedule() -> None:
    assert halvings(999, 1000) == halvings(2499, 10_000)
    assert [halvings(q, 300) for q in (1, 2, 299)] == [1, 0.5, 0.5**6]


def test_windows_lie_everywhere() -> None:
    hits = np.zeros((500, 1, 6))
    hits[random_windows(np.random.default_rng(0), hits.shape, (2,))] = 1
    assert (hits.sum(axis=-1) == 2).all()
    assert set(hits[:, 0].argmax(axis=1)) == set(range(5))


def rectangles(height: int, width: int) -> np.ndarray:
    """Equation 2 of the paper written as loops: the m-th rectangle about the middle adds 1 / (m + 1)^2."""
    total = np.zeros((height, width))
    for m in range(max(height // 2, width // 2) + 1):
        for i in range(height):
            for j in range(width):
                if abs(i - height // 2) <= m and abs(j - width // 2) <= m:
                    total[i, j] += 1 / (m + 1) ** 2
    return total


@pytest.mark.parametrize("width", [3, 5, 8, 11])
def test_a_pyramid_is_the_papers(width: int) -> None:
    whole = np.concatenate([rectangles(width // 2, width), -rectangles(width - width // 2, width)])
    whole /= np.linalg.norm(whole)
    np.testing.assert_allclose(pyramid((width, width), 0), whole, rtol=1e-6)
    np.testing.assert_allclose(pyramid((width, width), 1), whole.T, rtol=1e-6)


def test_windows_in_l2_are_odd_and_three_or_more_where_they_fit() -> None:
    assert [odd(w, 64) for w in (0.4, 2.9, 3.6, 5.2, 64)] == [3, 3, 5, 5, 64]
    assert odd(0.5, 2) == 2
    assert odd(9.0, 1) == 1


@settings(max_examples=30, deadline=None)
@given(
    sides=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    channels=st.integers(1, 3),
    share=st.floats(0.01, 0.8),
    seed=st.integers(0, 1000),
)
def test_moves_in_l2_are_always_one_long(sides: list[int], channels: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    delta = tiles(rng, (3, channels, *sides))
    for _ in range(3):
        np.testing.assert_allclose(length(delta, 1), 1, rtol=1e-4)
        before, delta = delta, shift(rng, delta * np.float32(0.9), share)
        assert delta.shape == before.shape
        assert np.isfinite(delta).all()


def test_a_move_in_l2_leaves_what_lies_outside_its_windows() -> None:
    rng = np.random.default_rng(0)
    delta = tiles(rng, (20, 1, 20, 20))
    moved = shift(rng, delta, 0.05)
    share = (np.abs(moved - delta) < 1e-6).mean(axis=(1, 2, 3))
    assert (share > 0.8).all()
    assert (share < 1).all()


class Flat(nn.Module):
    """A random projection of whatever layout, mildly bent."""

    def __init__(self, tensor: TensorSpec) -> None:
        super().__init__()
        self.low, self.width = tensor.bounds[0], tensor.width
        size = int(np.prod(tensor.shape))
        self.head = nn.Linear(size, DIM, bias=False)
        nn.init.normal_(self.head.weight, std=size**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(torch.tanh(3 * self.head((x - self.low).flatten(1) / self.width - 0.5)), dim=-1)


SENSORS = [spec.video(8, 2), spec.thermal(8), spec.audio(8, 12), spec.imu(30, 10.0), spec.point(40)]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("modality", SENSORS, ids=lambda m: m.name)
def test_every_layout(modality: spec.Modality, norm: str) -> None:
    torch.manual_seed(0)
    tensor = modality.input
    model = TorchRunner(Flat(tensor).eval().requires_grad_(False), tensor).attacked(centers())
    low, high = tensor.bounds
    x = np.random.default_rng(1).uniform(low, high, (40, *tensor.shape)).astype(np.float32)
    y = np.asarray(model.centers.predict(model.runner(x)))
    threat = ThreatModel("linf", 0.03, tensor.bounds) if norm == "linf" else ThreatModel("l2", 0.4, tensor.bounds)
    outcome = run_attack(Square(queries=60), model, x, y, threat, route="t", seed=0)
    assert float(outcome.distance.max()) <= threat.eps * (1 + 1e-5)
    assert outcome.x_adv.min() >= low
    assert outcome.x_adv.max() <= high
    assert outcome.success.mean() > 0.1
    random = random_change(norm, x, threat)
    assert outcome.success.mean() > (np.asarray(model.centers.predict(model.runner(random))) != y).mean()


def random_change(norm: str, x: np.ndarray, threat: ThreatModel) -> np.ndarray:
    noise = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    change = np.sign(noise) if norm == "linf" else noise / length(noise, 1)
    moved: np.ndarray = threat.project(x + np.float32(threat.radius) * change, x)
    return moved


def test_the_same_is_found_whether_channels_come_first_or_last() -> None:
    model, x, y = toy(16)
    for threat in (THREAT, ThreatModel("l2", 0.3, (0.0, 1.0))):
        first = run_attack(Square(40), model, x, y, threat, route="t", seed=0)
        last_spec = replace(SPEC, shape=(SIDE, SIDE, 3), layout="hwc")
        turned = TorchRunner(ChannelsLast(model.runner.module), last_spec).attacked(model.centers)
        last = run_attack(Square(40), turned, np.moveaxis(x, 1, -1).copy(), y, threat, route="t", seed=0)
        np.testing.assert_allclose(np.moveaxis(last.x_adv, -1, 1), first.x_adv, atol=1e-5)
        assert first.success.any()


class ChannelsLast(nn.Module):
    """The same encoder for x (n, h, w, c)."""

    def __init__(self, inner: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.movedim(-1, 1))


def test_another_loss_guides_it() -> None:
    model, x, y = toy(40)
    guided = run_attack(Square(60, loss="ce"), model, x, y, THREAT, route="t", seed=0)
    pushed = run_attack(Square(60, loss="push"), model, x, y, THREAT, route="t", seed=0)
    assert guided.success.any()
    assert pushed.queries.max() == 60
