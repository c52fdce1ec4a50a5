"""The gradient of a batch, as the sum of those of its parts, which threads and processes compute.

Parts and the order of the sum are fixed, whoever computes them, so the bits are the same for any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advcal_edge.calibrate.compute import Compute
from advcal_edge.calibrate.objectives import Targets, Total


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of a batch that this process computes: its place among the samples, and its inputs."""

    place: slice
    attacked: Tensor
    clean: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class BatchGradient:
    """Computes the gradient of `total` over a batch for `parameters`.

    Terms that compare samples with each other see the embeddings of the whole batch: they are computed first without
    gradients, and the parts then once more, each with its share of the gradient (Gao et al. 2021, arXiv 2101.06983).
    """

    embed: Callable[[Tensor], Tensor]
    parameters: Sequence[nn.Parameter]
    total: Total
    compute: Compute

    def __call__(self, own: Sequence[Part], parts: int, targets: Targets) -> Tensor:
        """Set `.grad` of all parameters and return the loss of the batch.

        `own` are those of its `parts` that are this process's, `targets` those of the whole batch.
        """
        if self.total.couples and parts > 1:
            loss, slope = self._whole(own, parts, targets)
            found = [*self.compute.map(lambda part: self._pulled(part, slope), own)]
        else:
            found = [*self.compute.map(lambda part: self._own(part, targets), own)]
            loss = None
        size = sum(parameter.numel() for parameter in self.parameters) + 1
        device = self.parameters[0].device
        stacked = torch.stack(found) if found else torch.zeros(0, size, device=device)
        every = self.compute.processes.gather(stacked, parts)
        summed = every[0].clone()
        for one in every[1:]:
            summed += one
        self._spread(summed)
        return summed[-1] if loss is None else loss

    def _own(self, part: Part, targets: Targets) -> Tensor:
        """Gradient and loss of one part of a loss that is a mean over samples, as one vector."""
        z = self.total.embed(self.embed, part.attacked, part.clean)
        own = targets.take(part.place)
        loss = self.total.loss(z, own) * (len(own.y) / len(targets.y))
        return self._flat(torch.autograd.grad(loss, self.parameters, materialize_grads=True), loss.detach())

    def _whole(self, own: Sequence[Part], parts: int, targets: Targets) -> tuple[Tensor, Tensor]:
        """The loss of the whole batch, and its gradient with respect to the embeddings of all."""
        n = len(targets.y)
        lengths = part_lengths(n, parts)
        looks = 2 if self.total.config.clean_terms else 1

        def look(part: Part) -> Tensor:
            with torch.no_grad():
                z = self.total.embed(self.embed, part.attacked, part.clean)
            z = torch.unflatten(z, 0, (looks, -1))
            return torch.cat([z, z.new_zeros(looks, lengths[0] - z.shape[1], z.shape[2])], dim=1)

        every = self.compute.processes.gather(torch.stack([*self.compute.map(look, own)]), parts)
        z = torch.cat([every[index, :, :length] for index, length in enumerate(lengths)], dim=1).flatten(0, 1)
        leaf = z.requires_grad_(True)
        loss = self.total.loss(leaf, targets)
        (slope,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), torch.unflatten(slope, 0, (looks, n))

    def _pulled(self, part: Part, slope: Tensor) -> Tensor:
        """The share of one part in the gradient, as one vector."""
        z = self.total.embed(self.embed, part.attacked, part.clean)
        own = slope[:, part.place].flatten(0, 1)
        found = torch.autograd.grad(z, self.parameters, own, materialize_grads=True)
        return self._flat(found, own.new_zeros(()))

    def _flat(self, gradients: Sequence[Tensor], loss: Tensor) -> Tensor:
        return torch.cat([*(gradient.reshape(-1) for gradient in gradients), loss.reshape(1)])

    def _spread(self, vector: Tensor) -> None:
        at = 0
        for parameter in self.parameters:
            parameter.grad = vector[at : at + parameter.numel()].view_as(parameter).clone()
            at += parameter.numel()


def part_lengths(n: int, parts: int) -> list[int]:
    """Lengths of the parts of a batch of n, equal but for one."""
    return [n // parts + (index < n % parts) for index in range(parts)]
