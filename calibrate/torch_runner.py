"""A torch module as runner and as gradient: the reference for engines."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from advcal_edge.attacks.base import AttackedModel
from advcal_edge.centers import Centers
from advcal_edge.model import Pullback
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import Array


class TorchRunner:
    """Implements `Runner` and `Gradient` over x (n, ...); numpy input gives numpy output.

    The module must be frozen and in eval mode. Only the gradient of the input is computed. With `chunk`, so many
    samples at a time are embedded or pulled back, and forward passes run again for their gradients: memory for time.
    """

    def __init__(self, module: nn.Module, spec: TensorSpec, chunk: int | None = None) -> None:
        self.module = module
        self.chunk = chunk
        self._spec = spec
        first = next(module.parameters(), None)
        self._device = torch.device("cpu") if first is None else first.device

    @property
    def spec(self) -> TensorSpec:
        """The input of the module."""
        return self._spec

    @cached_property
    def fingerprint(self) -> str:
        """`torch VERSION DEVICE SHA`; the hash is over names and bytes of all weights, computed on first use."""
        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return f"torch {torch.__version__} {self._device} {digest.hexdigest()[:12]}"

    def place(self, array: NDArray[Any]) -> Tensor:
        """A copy as tensor on the module's device."""
        return torch.tensor(array, device=self._device)

    def attacked(self, centers: Centers) -> AttackedModel:
        """This module as a white box."""
        return AttackedModel(self, centers, gradient=self, place=self.place)

    def __call__(self, x: Array) -> Array:
        """Embed x (n, ...) to unit-norm z (n, d)."""
        with torch.no_grad():
            z = torch.cat([self.module(part) for part in self._parts(self._tensor(x))])
        return _like(z, x)

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Embed x and return (z, pullback); `pullback(v)` is J^T v at x."""
        if len(self._parts(x)) > 1:
            return self(x), lambda v: self._pulled(x, v)
        with torch.enable_grad():
            leaf = self._tensor(x).detach().clone().requires_grad_(True)
            z: Tensor = self.module(leaf)

        def pullback(v: Array) -> Array:
            (slope,) = torch.autograd.grad(z, leaf, self._tensor(v), retain_graph=True)
            return _like(slope, x)

        return _like(z.detach(), x), pullback

    def _pulled(self, x: Array, v: Array) -> Array:
        pairs = zip(self._parts(self._tensor(x)), self._parts(self._tensor(v)), strict=True)
        return _like(torch.cat([self.vjp(own)[1](direction) for own, direction in pairs]), x)

    def _parts(self, x: Any) -> list[Any]:
        size = self.chunk or max(len(x), 1)
        return [x[start : start + size] for start in range(0, max(len(x), 1), size)]

    def _tensor(self, x: Array) -> Tensor:
        return x if isinstance(x, Tensor) else self.place(x)


def _like(value: Tensor, x: Array) -> Array:
    return value if isinstance(x, Tensor) else np.array(value.cpu())
