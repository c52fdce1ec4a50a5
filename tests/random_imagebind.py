"""Upstream's own model with random weights, whole and small, or one tower at its published size."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from upstream import imagebind

TOWERS = ("vision", "text", "audio", "thermal", "depth", "imu")
TOWER_OF = {"image": "vision", "video": "vision"} | {name: name for name in ("audio", "thermal", "depth", "imu")}
TINY = {"embed_dim": 16, "num_blocks": 1, "num_heads": 2}
SMALL = {"embed_dim": 32, "num_blocks": 2, "num_heads": 4}
PUBLISHED = {
    "vision": {"embed_dim": 1280, "num_blocks": 32, "num_heads": 16},
    "text": {"embed_dim": 1024, "num_blocks": 24, "num_heads": 16},
    "audio": {"embed_dim": 768, "num_blocks": 12, "num_heads": 12},
    "thermal": {"embed_dim": 768, "num_blocks": 12, "num_heads": 12},
    "depth": {"embed_dim": 384, "num_blocks": 12, "num_heads": 8},
    "imu": {"embed_dim": 512, "num_blocks": 6, "num_heads": 8},
}


def random_model(sizes: dict[str, dict[str, int]], embedding_dim: int, seed: int = 0) -> Any:
    """Upstream's model in eval mode; towers that `sizes` leaves out are tiny."""
    arguments = {f"{tower}_{key}": size for tower in TOWERS for key, size in sizes.get(tower, TINY).items()}
    with torch.random.fork_rng():
        model = imagebind("imagebind_model").ImageBindModel(out_embed_dim=embedding_dim, **arguments)
        torch.manual_seed(seed)
        randomise(model)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def randomise(model: nn.Module) -> None:
    """Every parameter drawn anew, those too that a fresh model has at zero or one."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 0:
                continue  # the logit scale
            if isinstance(module, nn.LayerNorm):
                parameter.normal_(1.0 if name == "weight" else 0.0, 0.2)
            elif parameter.dim() in (1, 3):
                parameter.normal_(0.0, 0.3)
            else:
                parameter.normal_(0.0, parameter[0].numel() ** -0.5)


def random_input(modality: str, n: int, seed: int = 1) -> torch.Tensor:
    """What upstream's model takes: normalised, so about of unit variance."""
    shapes = {
        "image": (3, 224, 224),
        "video": (3, 2, 224, 224),
        "audio": (1, 128, 204),
        "thermal": (1, 224, 224),
        "depth": (1, 224, 224),
        "imu": (6, 2000),
    }
    return torch.randn(n, *shapes[modality], generator=torch.Generator().manual_seed(seed))
