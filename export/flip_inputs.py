"""Inputs near a decision, clean and crafted, on which an engine is compared with its reference again and again.

They are crafted once, on the reference, on a failing engine, and on the difference of both, by the attacks that a
verification begins with. A graph is then compared on them in one forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Attack, AttackedModel, difference_model
from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.verify.crafting import attack_rows
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.samples import HeldOut, Samples

Floats = NDArray[np.float32]
Margins = NDArray[np.float64]
Bools = NDArray[np.bool_]

SAMPLES = 256
"""Held-out samples on which inputs are crafted, at most."""
LIMIT = 64
"""Inputs that are kept: the cost of comparing one graph is that of as many forward passes."""


@dataclass(frozen=True, slots=True, eq=False)
class FlipInputs:
    """Inputs x (n, ...) of classes y (n,), with the margins (n,) of the reference and of the failing engine."""

    x: Floats
    y: NDArray[np.int64]
    reference: Margins
    engine: Margins
    centers: Centers

    @classmethod
    def none(cls, bundle: Bundle) -> FlipInputs:
        """No inputs yet."""
        empty = np.empty(0)
        x = np.empty((0, *bundle.modality.input.shape), np.float32)
        return cls(x, np.empty(0, np.int64), empty, empty, bundle.centers())

    def __len__(self) -> int:
        return len(self.x)

    @property
    def flips(self) -> Bools:
        """Inputs (n,) that fool either the failing engine or the reference, and not the other."""
        return self.flipped(self.engine)

    def margins(self, z: Floats) -> Margins:
        """Margins (n,) of embeddings z (n, d) of these inputs."""
        return margins(self.centers, z, self.y)

    def flipped(self, other: Margins) -> Bools:
        """Inputs (n,) on which an engine with margins `other` decides differently from the reference."""
        flips: Bools = (other > 0) != (self.reference > 0)  # a margin that is not a number is no right answer
        return flips

    def risk(self, other: Margins) -> float:
        """Change of the margin over the margin, at most 1, summed over the inputs; what is not finite counts 1.

        A flip needs a change as large as the margin, so that this bounds the number of flips, and orders engines that
        do not flip any of these inputs.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            shares = np.abs(other - self.reference) / np.maximum(np.abs(self.reference), 1e-12)
        return float(np.minimum(np.nan_to_num(shares, nan=1.0, posinf=1.0), 1.0).sum())

    def joined(self, other: FlipInputs) -> FlipInputs:
        """These inputs and others of the same engine."""
        return FlipInputs(
            np.concatenate((self.x, other.x)),
            np.concatenate((self.y, other.y)),
            np.concatenate((self.reference, other.reference)),
            np.concatenate((self.engine, other.engine)),
            self.centers,
        )

    def nearest(self, n: int) -> FlipInputs:
        """The first `n` inputs by whether they flip, then by the reference's margin, smallest first."""
        rows = np.lexsort((np.abs(self.reference), ~self.flips))[:n]
        return FlipInputs(self.x[rows], self.y[rows], self.reference[rows], self.engine[rows], self.centers)


def margins(centers: Centers, z: Floats, y: NDArray[np.int64]) -> Margins:
    """Score of the true class minus that of the best other class (n,), negative where the label is wrong."""
    with np.errstate(invalid="ignore", over="ignore"):
        scores = centers.scores(z.astype(np.float64))
        rows = np.arange(len(y))
        own = scores[rows, y]
        scores[rows, y] = -np.inf
        gap: Margins = own - scores.max(axis=1)
    return gap


def craft_inputs(bundle: Bundle, reference: AttackedModel, engine: AttackedModel, options: VerifyOptions) -> FlipInputs:
    """Clean samples of the probe and inputs crafted on reference and `engine`: those that flip, and the nearest to it.

    Raises:
        ConfigError: options that cannot be honoured.
        BundleError: the probe cannot be read.
    """
    samples = min(options.samples, SAMPLES)
    held_out = HeldOut.open(bundle.samples("probe.npz"), samples, options.threat(bundle), options.seed)
    kept = FlipInputs.none(bundle)
    for _, block in held_out.blocks(range(held_out.count)):
        for x, y in craft_block(reference, engine, block, options):
            sides = [margins(reference.centers, embed(model, x), y) for model in (reference, engine)]
            kept = kept.joined(FlipInputs(x, y, sides[0], sides[1], reference.centers)).nearest(LIMIT)
    return kept


def craft_block(
    reference: AttackedModel, engine: AttackedModel, samples: Samples, options: VerifyOptions
) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
    """Clean inputs with their classes, then those of each attack, on the samples that its target gets right."""
    yield samples.x, samples.y
    budget, norm = options.budget(), samples.threat.norm
    right = {model: margins(model.centers, embed(model, samples.x), samples.y) > 0 for model in (reference, engine)}
    both: Bools = right[reference] & right[engine]
    first = budget.first(norm)
    plan: list[tuple[str, Attack, AttackedModel, Bools]] = [
        ("gradient", first, model, right[model]) for model in (reference, engine) if model.gradient is not None
    ]
    if None not in (reference.gradient, engine.gradient):
        for wrong, other in ((engine, reference), (reference, engine)):
            pair = difference_model(wrong, other)
            attacks = budget.attacks("difference", norm, len(reference.centers.labels))
            plan += [("difference", attack, pair, both) for attack in attacks]
    for route, attack, model, rows in plan:
        if rows.any():
            yield attack_rows(route, attack, model, samples, rows).x_adv, samples.y[rows]
