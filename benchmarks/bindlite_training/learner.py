"""The optimiser that all trunks are trained with, and how trained trunks are stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from advcal_edge.encoders.bindlite.trunk import Trunk

BATCH = 64


class Learner:
    """AdamW with a short warm-up and a cosine to zero; the gradient of each trunk is clipped for itself."""

    def __init__(self, trunks: Sequence[nn.Module], steps: int) -> None:
        self.trunks = trunks
        parameters = [parameter for trunk in trunks for parameter in trunk.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, 2e-3, total_steps=steps, pct_start=0.1)

    def descend(self, loss: Tensor) -> None:
        """One step downhill."""
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for trunk in self.trunks:
            nn.utils.clip_grad_norm_(trunk.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()


def store(trunk: Trunk, path: Path) -> None:
    """Write the weights as float16, and go on with what was written."""
    half = {name: tensor.half() for name, tensor in trunk.state_dict().items()}
    path.write_bytes(save(half))
    trunk.load_state_dict({name: tensor.float() for name, tensor in half.items()})
    trunk.eval().requires_grad_(False)
