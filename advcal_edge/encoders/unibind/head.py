"""The linear map that UniBind trains behind a frozen trunk (arXiv:2403.12532, section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Headed(nn.Module):
    """x (n, ...) to z = W (s h / |h|) + b (n, d), with h the trunk's output and s ImageBind's scale of the modality.

    The scale matters where there is a bias: audio comes twenty units long, thermal ten.
    """

    def __init__(self, trunk: nn.Module, embedding_dim: int, scale: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.scale = scale
        self.linear = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.linear(self.scale * F.normalize(self.trunk(x), dim=-1))
        return z
