"""A device of its own kind in torch, `board:0`, for machines without one: it computes on the processor.

As on a GPU, an operation on one of its tensors and one of the processor is an error, and so is a conversion to NumPy.
Import this in a process of its own: a device is registered for good.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("board")
BOARD = torch.device("board", 0)


class OnBoard(torch.Tensor):
    """A tensor of the board; `raw` holds its numbers."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> OnBoard:
        made: OnBoard = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, raw.shape, raw.stride(), raw.storage_offset(), dtype=raw.dtype, device=BOARD
        )
        made.raw = raw
        return made

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("cannot convert a tensor of the board to numpy; use `.cpu()` first")

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        moves = op.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        own: dict[int, torch.Tensor] = {}
        leaves = False

        def down(value: Any) -> Any:
            if isinstance(value, OnBoard):
                own[id(value.raw)] = value
                return value.raw
            if isinstance(value, torch.Tensor) and value.dim() and not moves:
                raise RuntimeError(f"{op}: expected all tensors on one device; found the board and the processor")
            return value

        def up(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return own[id(value)] if id(value) in own else OnBoard(value)

        kwargs = dict(kwargs or {})
        if kwargs.get("device") is not None:
            leaves = torch.device(kwargs["device"]).type == "cpu"
            kwargs["device"] = torch.device("cpu")
        into = op.overloadpacket is torch.ops.aten.copy_ and not isinstance(args[0], OnBoard)
        lowered, named = pytree.tree_map(down, (args, kwargs))
        found = op(*lowered, **named)
        return found if leaves or into else pytree.tree_map(up, found)


def _empty(size: Any, *rest: Any, dtype: Any = None, **_: Any) -> torch.Tensor:
    return OnBoard(torch.empty(size, dtype=dtype or torch.get_default_dtype()))


def _arange(*ends: Any, dtype: Any = None, **_: Any) -> torch.Tensor:
    return OnBoard(torch.arange(*ends, dtype=dtype))


_aten = torch.library.Library("aten", "IMPL")
_aten.impl("empty.memory_format", _empty, "PrivateUse1")
_aten.impl("empty_strided", _empty, "PrivateUse1")
for _name in ("arange", "arange.start", "arange.start_step"):
    _aten.impl(_name, _arange, "PrivateUse1")
