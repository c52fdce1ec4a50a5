"""How much memory a part of a batch needs, found without computing it, and the largest part that fits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from advcal_edge.calibrate.acceleration import blocks_of
from advcal_edge.errors import ConfigError

GIB = 2**30
HEADROOM = 0.85  # of what is free: the allocator's fragments, and workspaces of kernels


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a pass forward and backward needs: of the encoder, for any input, and for each sample."""

    weights: int
    fixed: int
    """Kept for the backward pass whatever the number of samples, such as merged weights."""
    sample: int
    """Kept for the backward pass for each sample."""

    def of(self, samples: int) -> int:
        """Bytes for so many samples at once."""
        return self.weights + self.fixed + samples * self.sample

    def fits(self, free: int) -> int:
        """The largest number of samples for which `free` bytes suffice, weights included; it may be zero."""
        return max(0, int((HEADROOM * free - self.weights - self.fixed) // max(self.sample, 1)))


def estimate_memory(module: nn.Module, shape: tuple[int, ...], *, checkpointed: bool = False) -> Memory | None:
    """What a module (n, *shape) -> (n, d) needs; None if it cannot be followed without computing.

    Tensors without content pass through it, and what autograd would keep is added up; with `checkpointed`, the inputs
    of the blocks, the largest inside of one, and what lies outside of them.
    """
    weights = sum(value.nbytes for value in (*module.parameters(), *module.buffers()))
    try:
        one, two = (_kept(module, shape, n, checkpointed) for n in (1, 2))
    except Exception:  # a module may do anything with its input; then nothing can be said
        return None
    return Memory(weights, max(2 * one - two, 0), max(two - one, 1))


def check_memory(memory: Memory, samples: int, parts: int, free: int, *, checkpointed: bool) -> None:
    """Refuse a part of a batch that does not fit; it holds each of its `samples` twice, attacked and clean.

    Raises:
        ConfigError: it needs more than what is free.
    """
    most = memory.fits(free) // 2
    if samples <= most:
        return
    need, batch = memory.of(2 * samples), samples * parts
    hints = [f"`--set train.parts={-(-batch // most)}`"] if most else []
    hints += [] if checkpointed else ["`--set train.checkpointing=true`"]
    raise ConfigError(
        f"a part of {samples} samples needs about {need / GIB:.1f} GiB; the device has {free / GIB:.1f} GiB free",
        hint=" and ".join(hints) or "free memory on the device, or take a larger one",
    )


def free_memory(device: torch.device) -> int | None:
    """Free bytes of a GPU; None for a processor, which has no estimate to be held against."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _kept(module: nn.Module, shape: tuple[int, ...], n: int, checkpointed: bool) -> int:
    """Bytes kept for the backward pass of n samples."""
    device = next((value.device for value in module.parameters()), torch.device("cpu"))
    blocks = [*blocks_of(module)] if checkpointed else []
    count = _Count(len(blocks))
    with ExitStack() as stack:
        for index, block in enumerate(blocks):
            stack.callback(block.register_forward_pre_hook(count.enter(index)).remove)
            stack.callback(block.register_forward_hook(count.leave).remove)
        mode = stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        weights: dict[str, Tensor] = {name: mode.from_tensor(value) for name, value in module.named_parameters()}
        weights |= {name: mode.from_tensor(value) for name, value in module.named_buffers()}
        stack.enter_context(saved_tensors_hooks(count.keep, lambda kept: kept))
        stack.enter_context(torch.enable_grad())
        x = torch.empty(n, *shape, device=device).requires_grad_(True)
        functional_call(module, weights, (x,))
    return count.total({value.untyped_storage()._cdata for value in weights.values()})


class _Count:
    """Adds up what autograd keeps, by the block in which it is kept; -1 is outside."""

    def __init__(self, blocks: int) -> None:
        self.inside = -1
        self.kept: dict[int, tuple[Tensor, int]] = {}
        self.inputs = 0
        self.blocks = blocks

    def enter(self, index: int) -> Callable[..., None]:
        def before(module: nn.Module, inputs: tuple[object, ...]) -> None:
            self.inside = index
            self.inputs += sum(value.nbytes for value in inputs if isinstance(value, Tensor))

        return before

    def leave(self, *_: object) -> None:
        self.inside = -1

    def keep(self, tensor: Tensor) -> Tensor:
        self.kept.setdefault(tensor.untyped_storage()._cdata, (tensor, self.inside))
        return tensor

    def total(self, own: set[int]) -> int:
        sums = [0] * (self.blocks + 1)
        for key, (tensor, inside) in self.kept.items():
            if key not in own:
                sums[inside] += tensor.untyped_storage().nbytes()
        return self.inputs + sums[-1] + max(sums[:-1], default=0)
