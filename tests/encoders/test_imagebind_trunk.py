"""ImageBind's trunks: the same numbers as the published code, from the same tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from random_imagebind import PUBLISHED, SMALL, TOWER_OF, TOWERS, random_input, random_model
from torch import Tensor
from torch.nn import functional as F

from advcal_edge.encoders.imagebind.published import HUGE
from advcal_edge.encoders.imagebind.trunk import Trunk, build
from advcal_edge.errors import InputError

LARGEST_DIFFERENCE = 1e-6
every = pytest.mark.parametrize("modality", list(HUGE))


def small(modality: str) -> Trunk:
    return build(modality, replace(HUGE[modality], width=32, depth=2, heads=4, embedding_dim=24))


@pytest.fixture(scope="module")
def whole() -> dict[str, Tensor]:
    """A small checkpoint with all towers in it."""
    state: dict[str, Tensor] = random_model(dict.fromkeys(TOWERS, SMALL), 24).state_dict()
    return state


def largest_difference(modality: str, sizes: dict[str, dict[str, int]], dim: int, trunk: Trunk, n: int) -> float:
    upstream = random_model(sizes, dim)
    trunk.load_upstream(upstream.state_dict())
    x, tower = random_input(modality, n), TOWER_OF[modality]
    with torch.inference_mode():
        # upstream takes five axes for clips to be averaged over
        theirs = upstream({tower: x[:, None] if modality == "video" else x})[tower]
        ours = trunk.eval().embed_normalised(x)
    assert ours.shape == (n, dim)
    assert F.cosine_similarity(ours[0], ours[1], dim=0) < 0.999  # a constant would agree too
    return float((F.normalize(theirs, dim=-1) - F.normalize(ours, dim=-1)).abs().max())


@every
def test_a_small_trunk_embeds_as_upstream_does(modality: str) -> None:
    difference = largest_difference(modality, dict.fromkeys(TOWERS, SMALL), 24, small(modality), 3)
    assert difference < LARGEST_DIFFERENCE


@pytest.mark.slow
@every
def test_a_trunk_of_published_size_embeds_as_upstream_does(modality: str) -> None:
    tower = TOWER_OF[modality]
    with torch.device("meta"):
        trunk = build(modality)
    difference = largest_difference(modality, {tower: PUBLISHED[tower]}, 1024, trunk, 2)
    print(f"{modality}: largest difference {difference:.1e}")
    assert difference < LARGEST_DIFFERENCE


@every
def test_physical_input_is_normalised_inside(modality: str, whole: dict[str, Tensor]) -> None:
    trunk = small(modality)
    trunk.load_upstream(whole)
    config, y = trunk.config, random_input(modality, 2)
    mean, std = (torch.tensor(v).reshape(-1, *[1] * (y.dim() - 2)) for v in (config.mean, config.std))
    with torch.inference_mode():
        assert torch.allclose(trunk(y * std + mean), trunk.embed_normalised(y), atol=1e-4)


def test_an_image_is_a_video_that_stands_still(whole: dict[str, Tensor]) -> None:
    image, video = small("image"), small("video")
    image.load_upstream(whole)
    video.load_upstream(whole)
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(image(x), video(x[:, :, None].expand(-1, -1, 2, -1, -1)), atol=1e-5)


@every
def test_every_tensor_of_the_trunk_matters(modality: str, whole: dict[str, Tensor]) -> None:
    trunk = small(modality)
    trunk.load_upstream({name: tensor.clone() for name, tensor in whole.items()})
    trunk.requires_grad_(True)
    # norms are blind to a common shift, and softmax to a bias of all keys: their gradients are rounding
    trunk(random_input(modality, 2)).square().sum().backward()
    idle = [name for name, parameter in trunk.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert idle == []


def test_missing_tensors_are_named_as_in_the_checkpoint(whole: dict[str, Tensor]) -> None:
    state = dict(whole)
    del state["modality_trunks.thermal.blocks.1.attn.in_proj_weight"]
    with pytest.raises(InputError, match=r"1 missing \(`modality_trunks.thermal.blocks.1.attn.in_proj_weight`\)$"):
        small("thermal").load_upstream(state)
    small("audio").load_upstream(state)


def test_left_over_tensors_are_named_if_they_are_of_this_trunk(whole: dict[str, Tensor]) -> None:
    state = {**whole, "modality_trunks.imu.blocks.9.norm_1.weight": torch.ones(32), "optimizer": torch.ones(1)}
    with pytest.raises(InputError, match=r"1 left over \(`modality_trunks.imu.blocks.9.norm_1.weight`\)$"):
        small("imu").load_upstream(state)
    small("depth").load_upstream(state)


def test_the_published_size_is_not_filled_with_a_smaller_checkpoint(whole: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        trunk = build("depth")
    with pytest.raises(InputError, match=r"missing .*; \d+ of another shape \(`.*for \(1, 1, 384\)`"):
        trunk.load_upstream(whole)
