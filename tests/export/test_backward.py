"""Each translation of a backward operator against autograd and against finite differences, in float64 without ONNX."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.errors import ExportError
from advcal_edge.export.backward.registry import TRANSLATIONS, aten, backward
from advcal_edge.export.vjp import pull_back, trace

SHAPE = (2, 8, 8)
WEIGHT = torch.randn(3, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
ONE, THREE = torch.tensor([0, 5, 5, 7]), (1, 2, 0, 3, 2, 0)


def volume(x: Tensor) -> Tensor:
    return x.reshape(-1, 2, 2, 4, 8)


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "convolution valid": lambda x: F.conv2d(x, WEIGHT, padding="valid", stride=2),
    "convolution same": lambda x: F.conv2d(x, WEIGHT, padding="same"),
    "convolution transposed": lambda x: F.conv_transpose2d(x, WEIGHT[:2, :, :, :3], stride=2, output_padding=1),
    "max pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max pool, dilated, ceil": lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1), dilation=(2, 1), ceil_mode=True),
    "max pool 1d": lambda x: F.max_pool1d(x.flatten(2), 3, 2, 1),
    "max pool 3d": lambda x: F.max_pool3d(volume(x), 2, (1, 2, 2), 1),
    "max pool, adaptive, dividing": lambda x: F.adaptive_max_pool2d(x, (4, 2)),
    "max pool, adaptive": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "max pool, adaptive 1d": lambda x: F.adaptive_max_pool1d(x[:, :, 0], 5),
    "average pool": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "average pool, ceil": lambda x: F.avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True),
    "average pool, without padding": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    "average pool, divisor": lambda x: F.avg_pool2d(x, 3, 2, divisor_override=5),
    "average pool 1d": lambda x: F.avg_pool1d(x.flatten(2), 3, 2, 1),
    "average pool 3d": lambda x: F.avg_pool3d(volume(x), 2, (1, 2, 2), 1),
    "average pool, adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "average pool, adaptive 3d": lambda x: F.adaptive_avg_pool3d(volume(x), (1, 3, 5)),
    "average over all": lambda x: F.adaptive_avg_pool1d(x.flatten(2).transpose(1, 2), 1).flatten(1),
    "reflection": lambda x: F.pad(x, (1, 2, 3, 1), mode="reflect"),
    "replication": lambda x: F.pad(volume(x), THREE, mode="replicate"),
    "circular": lambda x: F.pad(volume(x), THREE, mode="circular"),
    "zeros and cropping": lambda x: F.pad(x, (1, 2, -3, 1)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest exact": lambda x: F.interpolate(x, size=(5, 7), mode="nearest-exact"),
    "area": lambda x: F.interpolate(x, size=(5, 7), mode="area"),
    "linear": lambda x: F.interpolate(x[:, :, 0], size=7, mode="linear"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=(1.7, 0.6), mode="bilinear"),
    "bilinear, recomputed": lambda x: F.interpolate(
        x, scale_factor=(1.7, 0.6), mode="bilinear", recompute_scale_factor=True
    ),
    "bilinear, smoothed": lambda x: F.interpolate(x, size=(5, 7), mode="bilinear", antialias=True),
    "bicubic, aligned": lambda x: F.interpolate(x, size=(11, 7), mode="bicubic", align_corners=True),
    "trilinear": lambda x: F.interpolate(volume(x), size=(3, 5, 5), mode="trilinear"),
    "slices": lambda x: torch.cat([x[:, :, 1::2, -5:-1:3], x[:, :, :4, 6:]], -1),
    "selections": lambda x: x[:, 0, :, -3] + x[..., -1, :][:, 1],
    "windows, rolled": lambda x: torch.roll(x, (-1, -2), (2, 3)).unflatten(3, (2, 4)).transpose(2, 3).flatten(1, 2),
    "rotary": lambda x: torch.cat([-x[..., 4:], x[..., :4]], -1) * x,
    "index": lambda x: x.flatten(1)[:, ONE],
    "index of two axes": lambda x: x[:, :, ONE[:2, None] - 1, ONE],
    "index of rows": lambda x: x.index_select(2, ONE),
    "gather": lambda x: x.gather(2, x.argsort(2)[:, :, :3]),
    "largest": lambda x: x.max(1, keepdim=True).values * x.amax(-1, keepdim=True),
    "sorted": lambda x: x.sort(-1).values.cumsum(2),
    "unfolded": lambda x: F.fold(F.unfold(x, 2, stride=2) ** 2, (8, 8), 2, stride=2),
    "sliding": lambda x: x.unfold(2, 4, 2),
    "diagonal": lambda x: x.diagonal(-2, 3, 1),
    "layer norm": lambda x: F.layer_norm(x, x.shape[1:], eps=0.1),
    "local response norm": lambda x: F.local_response_norm(x, 3),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
}


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def sample(module: nn.Module, n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.rand((n, *SHAPE), dtype=torch.float64, generator=generator)
    return x, torch.randn(module(x).shape, dtype=torch.float64, generator=generator)


@pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_translation_is_the_derivative(name: str) -> None:
    module = Function(CASES[name])
    traced = trace(module, *sample(module, 2))
    left = {str(node.target) for node in traced.graph.nodes if node.op == "call_function"}
    assert not {operator for operator in left if "backward" in operator or "scatter" in operator or "put" in operator}
    for n in (1, 3, 8):
        x, v = sample(module, n)
        z, g = traced(x, v)
        z_want, g_want = pull_back(module, x, v)
        torch.testing.assert_close(z, z_want, atol=1e-12, rtol=1e-9)
        torch.testing.assert_close(g, g_want, atol=1e-12, rtol=1e-9)
    step = 1e-6 * torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    difference = (v * (module(x + step) - module(x - step))).sum() / 2
    assert float((g * step).sum()) == pytest.approx(float(difference), rel=1e-5)


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.adaptive_max_pool2d(x, 3),
        lambda x: F.adaptive_max_pool2d(x, (4, 1)),
    ],
)
def test_of_equal_values_the_first_is_the_maximum(pool: Callable[[Tensor], Tensor]) -> None:
    module = Function(lambda x: pool((4 * x).floor() + 0.001 * x.detach().floor() + x - x.detach()))  # slope of one
    x, v = sample(module, 3)
    traced = trace(module, x[:2], v[:2])
    torch.testing.assert_close(traced(x, v)[1], pull_back(module, x, v)[1], atol=1e-12, rtol=0)


def test_a_parameter_that_is_not_frozen_is_refused() -> None:
    translation = TRANSLATIONS[aten.convolution_backward.default]
    with pytest.raises(ExportError, match="freeze the parameters"):
        translation(*[None] * 10, (True, True, False))


def test_an_operator_has_one_translation() -> None:
    with pytest.raises(ValueError, match="two translations"):
        backward(aten.gelu_backward.default)(lambda grad, x: grad)
