"""Operations of the passes through a module: products of matrices, convolutions and attention.

A multiplication and an addition are two operations. Norms, softmax and what is done to each value alone are not
counted. On the meta device nothing is computed, so a trunk needs no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
FORMULAS: Mapping[Any, Callable[..., int]] = {
    **flop_registry,
    # torch counts the kernels of GPUs alone; that of processors has the same operands
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
}


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is called inside the `with` block.

    Unlike torch's `FlopCounterMode`, which also tells modules apart, it can follow `torch.autograd.grad`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


class Pass(NamedTuple):
    """Operations of a forward pass, and of one with the gradient of its input."""

    forward: float
    both: float


def count_pass(module: Callable[[Tensor], Tensor], x: Tensor) -> Pass:
    """Both passes through a frozen module on x (n, ...), for all samples together."""
    leaf = x.detach().clone().requires_grad_()
    with torch.enable_grad(), Operations() as counted:
        z = module(leaf)
        forward = counted.total
        torch.autograd.grad(z, leaf, torch.ones_like(z))
    return Pass(float(forward), float(counted.total))


def count_training(module: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], x: Tensor) -> int:
    """A forward pass on x (n, ...) and the gradients of `parameters`, for all samples together."""
    with torch.enable_grad(), Operations() as counted:
        z = module(x)
        torch.autograd.grad(z, parameters, torch.ones_like(z), allow_unused=True)
    return int(counted.total)
