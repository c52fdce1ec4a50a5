"""A Wiener filter merged into the stem: estimated from clean samples in closed form, not trained.

An attacker may add anything of a known size to a patch, while clean patches fill few directions of their space. The
linear estimate of a clean patch u from u + noise that errs least is mu + Sigma (Sigma + N)^-1 (u + noise - mu), with
mu and Sigma the mean and the covariance of clean patches and N that of the noise (Wiener 1949). A linear stem W behind
it is another linear stem, W' = W Sigma (Sigma + N)^-1 with a bias of (W - W') mu, so an engine pays nothing.

The noise is random signs of `adapter.filter` times eps, as it arrives at the stem: behind the encoder's own
normalisation. The filter is fitted to the calibration samples, and removes what they never show.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.calibrate.adapters.base import (
    EMBED_BATCH,
    AdaptedModule,
    CleanInputs,
    Context,
    Map,
    Part,
    adapter,
    find_stem,
    parametrize_weight,
)
from advcal_edge.calibrate.config import AdapterConfig
from advcal_edge.errors import ConfigError

SAMPLES = 1000  # clean samples behind Sigma; each has many patches
CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (F.conv1d, F.conv2d, F.conv3d)


class Filtered(Part):
    """Another weight in the place of the encoder's."""

    estimated = True
    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, weight: Tensor) -> Tensor:
        return self.value


class Shifted(Part):
    """A bias and what the mean patch adds to it."""

    estimated = True
    shift: Tensor

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift)

    def forward(self, bias: Tensor) -> Tensor:
        return bias + self.shift


@adapter("stem-filter", merges=True)
def attach_stem_filter(model: AdaptedModule, config: AdapterConfig, context: Context) -> None:
    """Replace the stem's weight by the filtered one; without inputs, by a placeholder of its shape."""
    stem = find_stem(model, "stem-filter")
    if stem.bias is None:
        stem.bias = nn.Parameter(stem.weight.new_zeros(len(stem.weight)), requires_grad=False)
    weight, shift = stem.weight.detach().clone(), torch.zeros_like(stem.bias)
    if context.clean is not None:
        generator = torch.Generator().manual_seed(context.generator.initial_seed())
        weight, shift = filtered(model.trunk, stem, context.clean, config.filter, generator)
    parametrize_weight(stem, "weight", Filtered(weight))
    parametrize_weight(stem, "bias", Shifted(shift))


def filtered(
    trunk: nn.Module, stem: Map, clean: CleanInputs, strength: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """W' of the shape of the stem's weight, and (W - W') mu (o,), for noise of `strength` times the radius.

    Raises:
        ConfigError: the stem does not see the input, or has groups.
    """
    if not isinstance(stem, nn.Linear) and stem.groups != 1:
        raise ConfigError(
            f"`--adapter stem-filter` expects a stem without groups; found {type(stem).__name__} with {stem.groups}",
            hint="leave out `stem-filter`",
        )
    matrix = stem.weight.detach().flatten(1).double()
    size = matrix.shape[1]
    total, squares, noise, count = matrix.new_zeros(size), matrix.new_zeros(size, size), matrix.new_zeros(size), 0
    for x in torch.split(clean.x[:SAMPLES], EMBED_BATCH):
        x = x.to(stem.weight.device)
        signs = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
        patches = _patches(trunk, stem, x)
        total += patches.sum(0)
        squares += patches.T @ patches
        noise += (_patches(trunk, stem, x + strength * clean.radius * signs) - patches).square().sum(0)
        count += len(patches)
    mean, noise = total / count, noise / count
    covariance = squares / count - torch.outer(mean, mean)
    floor = 1e-9 * (covariance.trace() / size + noise.mean())  # numbers that neither the samples nor noise ever move
    changed = torch.linalg.solve(covariance + torch.diag(noise + floor), covariance @ matrix.T).T
    shift = (matrix - changed) @ mean
    return changed.view_as(stem.weight).to(stem.weight.dtype), shift.to(stem.weight.dtype)


class _SeenError(Exception):
    """Ends a pass through the trunk at the stem."""


def _patches(trunk: nn.Module, stem: Map, x: Tensor) -> Tensor:
    """What the stem multiplies its weight by, as rows (m, i) in float64, for the inputs x (n, ...).

    Raises:
        ConfigError: the trunk never calls the stem.
    """
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].detach())
        raise _SeenError

    hook = stem.register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            trunk(x)
    except _SeenError:
        return _unfold(stem, seen[0]).double()
    finally:
        hook.remove()
    raise ConfigError(
        f"`--adapter stem-filter` takes the first layer defined for the stem, a {type(stem).__name__};"
        " expected that the encoder calls it",
        hint="leave out `stem-filter`",
    )


def _unfold(stem: Map, u: Tensor) -> Tensor:
    """The patches of a stem's input, as rows (m, i)."""
    if isinstance(stem, nn.Linear):
        return u.flatten(0, -2)
    size = stem.weight[0].numel()
    one_each = torch.eye(size, dtype=u.dtype, device=u.device).view(size, *stem.weight.shape[1:])
    convolve = CONVOLUTIONS[stem.weight.dim() - 3]
    patches = convolve(u, one_each, None, stem.stride, stem.padding, stem.dilation)
    return patches.flatten(2).transpose(1, 2).flatten(0, 1)
