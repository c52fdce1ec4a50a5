"""The stem's filter: Wiener's formula by hand, what it does to noise, and stems it cannot take."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.calibrate.adapters import Adapter, CleanInputs, attach_adapter
from advcal_edge.calibrate.config import AdapterConfig
from advcal_edge.errors import ConfigError

DIM = 5


class Convolved(nn.Module):
    """A convolution of any number of axes, behind a normalisation of its own."""

    def __init__(self, stem: nn.Module, std: float = 0.25) -> None:
        super().__init__()
        self.stem, self.std = stem, std

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.stem((x - 0.5) / self.std).flatten(2).mean(-1)
        return out


def smooth(*shape: int, seed: int = 0) -> Tensor:
    """Inputs whose neighbours are alike, in [0, 1]."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    for axis in range(2, len(shape)):
        x = (x + x.roll(1, axis) + x.roll(2, axis)) / 3
    return x


def attached(trunk: nn.Module, x: Tensor, radius: float, strength: float = 1.0) -> nn.Module:
    return attach_adapter(trunk, AdapterConfig("stem-filter", filter=strength), DIM, 0, CleanInputs(x, radius))


def test_is_wieners_formula() -> None:
    """In physical units, as covariance, mean and noise of patches: the stem sees (x - 0.5) / 0.25."""
    torch.manual_seed(0)
    stem = nn.Conv2d(2, DIM, 4, 4, bias=False)
    before = stem.weight.detach().clone().flatten(1).double().numpy()
    x = smooth(300, 2, 8, 8)
    model = attached(Convolved(stem), x, radius=0.1, strength=0.5)
    u = F.unfold(x.double(), 4, stride=4).transpose(1, 2).flatten(0, 1).numpy()
    sigma = np.cov(u.T, bias=True)
    physical = before / 0.25
    expected = physical @ sigma @ np.linalg.inv(sigma + 0.05**2 * np.eye(32))
    np.testing.assert_allclose(model.trunk.stem.weight.flatten(1) / 0.25, expected, atol=1e-5)
    np.testing.assert_allclose(model.trunk.stem.bias, (physical - expected) @ (u.mean(0) - 0.5), atol=1e-4)


@pytest.mark.parametrize(
    ("stem", "shape"),
    [
        (nn.Conv1d(3, DIM, 5, 5), (3, 40)),
        (nn.Conv2d(1, DIM, 3, 1, padding=1), (1, 12, 12)),
        (nn.Conv2d(2, DIM, 4, 2, dilation=2, bias=False), (2, 16, 16)),
        (nn.Conv3d(1, DIM, (2, 4, 4), (2, 4, 4)), (1, 4, 8, 8)),
    ],
    ids=["1d", "overlapping", "dilated", "3d"],
)
def test_less_noise_gets_through_than_clean_input_loses(stem: nn.Module, shape: tuple[int, ...]) -> None:
    x = smooth(200, *shape)
    plain, model = Convolved(stem), None
    noise = 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        clean, noisy = plain.stem((x - 0.5) / 0.25), plain.stem((x + noise - 0.5) / 0.25)
        model = attached(plain, x, radius=0.2)
        after, after_noisy = plain.stem((x - 0.5) / 0.25), plain.stem((x + noise - 0.5) / 0.25)
    assert (after_noisy - clean).square().mean() < 0.6 * (noisy - clean).square().mean()
    assert (after - clean).square().mean() < (noisy - clean).square().mean()
    assert Adapter.of(model, AdapterConfig("stem-filter"), DIM).parameters == 0


def test_a_linear_stem_of_windows() -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(8, DIM)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.stem(x.unflatten(-1, (-1, 8))).mean((1, 2))
            return out

    x = smooth(100, 1, 32)
    model = attached(Windows(), x, radius=0.5)
    assert Adapter.of(model, AdapterConfig("stem-filter"), DIM).estimated == 8 * DIM + DIM


@given(st.floats(0, 1e-7))
def test_without_noise_nothing_changes(strength: float) -> None:
    stem = nn.Conv2d(1, DIM, 2, 2)
    before = stem.weight.detach().clone()
    attached(Convolved(stem), torch.rand(50, 1, 8, 8), radius=1.0, strength=strength)
    torch.testing.assert_close(stem.weight, before, atol=1e-3, rtol=1e-3)


def test_numbers_that_never_move_are_no_error() -> None:
    stem = nn.Conv2d(2, DIM, 2, 2)
    x = torch.rand(50, 2, 8, 8)
    x[:, 1] = 0.5
    model = attached(Convolved(stem), x, radius=0.1)
    assert torch.isfinite(model(x)).all()


def test_stems_it_cannot_take() -> None:
    with pytest.raises(ConfigError, match="without groups"):
        attached(Convolved(nn.Conv2d(4, 4, 2, 2, groups=2)), torch.rand(9, 4, 8, 8), 0.1)

    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.stem = nn.Linear(3, 3), nn.Linear(8, DIM)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.stem(x)
            return out

    with pytest.raises(ConfigError, match="expected that the encoder calls it"):
        attached(Idle(), torch.rand(9, 8), 0.1)
