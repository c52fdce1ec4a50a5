"""The processes that calibrate together: `torchrun --nproc-per-node N -m advcal_edge calibrate ...`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from advcal_edge.errors import ConfigError

PATIENCE = timedelta(hours=2)  # for the slowest of them: the first may write, or read a large checkpoint, alone


@dataclass(frozen=True, slots=True)
class Processes:
    """Which of how many processes this is; the first alone writes."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Which of those on this machine."""

    @property
    def first(self) -> bool:
        """Is this the one that writes?"""
        return self.rank == 0

    def own(self, count: int) -> range:
        """Those of `count` items that are computed by this process."""
        return range(self.rank, count, self.count)

    def gather(self, own: Tensor, count: int) -> Tensor:
        """All `count` items (count, ...), of which this process has those of `own` (m, ...), on every process."""
        if self.count == 1:
            return own
        most = -(-count // self.count)
        padded = torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])]).contiguous()
        everyone = [torch.empty_like(padded) for _ in range(self.count)]
        try:
            distributed.all_gather(everyone, padded)
        except RuntimeError as error:
            raise ConfigError(
                f"another of the {self.count} processes has ended or no longer answers; expected all of them to go on",
                hint="what it printed says why; the same command with `--resume` goes on from the last whole epoch",
            ) from error
        return torch.stack(everyone, 1).flatten(0, 1)[:count]  # item = slot * processes + rank


ALONE = Processes()


@contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, until the block ends; alone if it started none.

    Raises:
        ConfigError: torchrun's variables are incomplete, or the processes do not find each other.
    """
    found = _read(environment)
    if found.count == 1:
        yield found
        return
    nccl = torch.cuda.is_available() and distributed.is_nccl_available()
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"process {found.rank + 1} of {found.count} cannot join the others: {str(error).splitlines()[0][:200]}",
            hint="`torchrun` starts all of them and tells each where the others are",
        ) from error
    try:
        yield found
        distributed.barrier()  # one that leaves while others still talk to it may abort as it ends
    finally:
        distributed.destroy_process_group()


def _read(environment: Mapping[str, str]) -> Processes:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    found = [environment.get(name) for name in names]
    if found[0] is None and found[1] is None:
        return ALONE
    numbers = [int(text) if text is not None and text.isascii() and text.isdigit() else -1 for text in found]
    if min(numbers) < 0 or not numbers[0] < numbers[1]:
        told = ", ".join(f"{name}={text}" for name, text in zip(names, found, strict=True))
        raise ConfigError(
            f"the environment says {told}; expected the numbers that `torchrun` sets",
            hint="unset RANK and WORLD_SIZE, or start with `torchrun`",
        )
    return Processes(*numbers)
