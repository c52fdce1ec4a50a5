"""What the frozen encoder makes of the training inputs, computed once: targets of objectives, and class means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.calibrate.adapters.base import EMBED_BATCH
from advcal_edge.calibrate.compute import Compute
from advcal_edge.calibrate.data.inputs import Inputs, stream
from advcal_edge.calibrate.processes import ALONE, Processes

Look = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""From the rows (m,) of a block and its x (m, ...) to results, each (m, ...)."""


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """Unit-norm embeddings z (n, d) of clean inputs, on the CPU, and a hash of the inputs."""

    z: Tensor
    mirrored: Tensor | None
    """Those of the inputs mirrored along their last axis, if wanted."""
    sha256: str


def compute_anchors(model: AdaptedModule, inputs: Inputs, compute: Compute, workers: int, *, mirror: bool) -> Anchors:
    """Read every input once, and embed it as it is and, with `mirror`, mirrored.

    Raises:
        InputError: a frame cannot be read, or is not finite.
    """

    def look(rows: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        digests = [hashlib.sha256(one.tobytes()).digest() for one in x.cpu().contiguous().numpy()]
        mirrored = (model(x.flip(-1)),) if mirror else ()
        return torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(len(x), -1), model(x), *mirrored

    digests, z, *mirrored = over_blocks(look, inputs, compute, workers)
    return Anchors(z, mirrored[0] if mirrored else None, hashlib.sha256(digests.numpy().tobytes()).hexdigest())


def over_blocks(
    function: Look,
    inputs: Inputs,
    compute: Compute,
    workers: int,
    size: int = EMBED_BATCH,
    done: Callable[[int], None] = lambda rows: None,
) -> list[Tensor]:
    """What `function` makes of all inputs (n, ...), `size` at a time, on the CPU of every process.

    `done` is told how many inputs are finished.
    """
    blocks = torch.split(torch.arange(len(inputs)), size)
    processes = compute.processes if len(blocks) >= compute.processes.count else ALONE  # too few to share
    own = [blocks[index] for index in processes.own(len(blocks))]

    def one(piece: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return tuple(each.cpu() for each in function(*piece))

    found = []
    for each in compute.map(one, zip(own, stream(inputs, own, compute.device, workers), strict=True)):
        found.append(each)
        done(min(len(found) * processes.count * size, len(inputs)))
    return [_joined(each, size, len(blocks), processes)[: len(inputs)] for each in zip(*found, strict=True)]


def _joined(found: Sequence[Tensor], size: int, blocks: int, processes: Processes) -> Tensor:
    equal = torch.stack([torch.cat([each, each.new_zeros(size - len(each), *each.shape[1:])]) for each in found])
    return processes.gather(equal, blocks).flatten(0, 1)
