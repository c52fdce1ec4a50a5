"""A folder as UniBind's README leaves it, with small trunks of random weights under the published names."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from advcal_edge.encoders.imagebind.published import HUGE, TrunkConfig, published_names as imagebind_names
from advcal_edge.encoders.imagebind.trunk import Trunk
from advcal_edge.encoders.unibind.encoder import CONFIGS
from advcal_edge.encoders.unibind.point import PointTrunk
from advcal_edge.encoders.unibind.point_config import PROJECTION, Level, PointConfig, published_names

State = dict[str, Tensor]
DIM = 20
SCALES = {"audio": 20.0, "thermal": 10.0, "text": 100.0}

SMALL_POINT = PointConfig(
    points=48,
    levels=(Level(16, 6, (8, 10, 12), 12, 0.6), Level(8, 4, (12, 12, 18), 18, 0.9)),
    depth=1,
    heads=3,
    bridge=14,
    embedding_dim=DIM,
)


def small(modality: str) -> TrunkConfig | PointConfig:
    """The published statistics and kernels, of the least size; images of 28 or 32 pixels."""
    config = CONFIGS[modality]
    if isinstance(config, PointConfig):
        return SMALL_POINT
    shapes = {"vision": (28, 28), "thermal": (32, 32), "audio": (26, 36)}
    shape = (*config.shape[:-2], *shapes[config.tower])
    return replace(config, shape=shape, width=16, depth=1, heads=2, embedding_dim=DIM)


def randomise(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.normal_(0, parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3, generator=generator)


def point_state() -> State:
    """The point encoder with convolutions and batch norms, as published."""
    trunk = PointTrunk(SMALL_POINT)
    randomise(trunk, 3)
    names = published_names(trunk.state_dict())
    state = {names[name]: tensor.clone() for name, tensor in trunk.state_dict().items()}
    state[PROJECTION] = state[PROJECTION].T.contiguous()
    generator = torch.Generator().manual_seed(4)
    for name in [name for name in state if "_conv." in name and name.endswith("weight")]:
        state[name] = state[name][..., None]
        if name.endswith("_conv.0.weight"):
            norm, width = name.replace(".0.weight", ".1."), len(state[name])
            for part in ("weight", "bias", "running_mean", "running_var"):
                state[norm + part] = 0.5 + torch.rand(width, generator=generator)
            state[norm + "num_batches_tracked"] = torch.tensor(7)
    return state


def pretrained_state() -> State:
    state = point_state()
    for seed, modality in enumerate(("video", "audio", "thermal")):
        config = small(modality)
        assert isinstance(config, TrunkConfig)
        trunk = Trunk(config)
        randomise(trunk, seed)
        names = imagebind_names(trunk.state_dict(), HUGE[modality].tower)
        state |= {f"bind.{names[name]}": tensor.clone() for name, tensor in trunk.state_dict().items()}
    for tower, scale in SCALES.items():
        state[f"bind.modality_postprocessors.{tower}.1.log_logit_scale"] = torch.tensor(math.log(scale))
    state["bind.modality_postprocessor_point.1.log_logit_scale"] = torch.tensor(0.0)
    return state | {"logit_scale": torch.tensor(2.6)}


def tuned_state(modality: str) -> State:
    generator = torch.Generator().manual_seed(9)
    head = {
        f"mlp_for_{modality}.weight": torch.randn(DIM, DIM, generator=generator),
        f"mlp_for_{modality}.bias": torch.randn(DIM, generator=generator),
    }
    return {f"backbone.{name}": tensor for name, tensor in pretrained_state().items()} | head


def write(state: State, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path
