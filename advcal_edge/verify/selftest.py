"""What an engine must repeat on a device: its near ties, crafted inputs, and clean anchors, with what it made of them.

It is drawn from the finished blocks and the models, never from the order of the work: a run that was resumed, shared
among workers or merged from shards stores the same.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import run_attack
from advcal_edge.expectations import ADVERSARIAL, CLEAN, TIE, Expectations
from advcal_edge.runtime.selftest import place_of
from advcal_edge.spec import TensorSpec
from advcal_edge.verify.model_set import embed
from advcal_edge.verify.samples import BLOCK
from advcal_edge.verify.verification import Verification

Floats = NDArray[np.float32]
MOST, BYTES, SETS = 16, 2**22, 5
"""Samples of one set, bytes of all inputs, and sets of them: clean, ties, and three of crafted inputs.

The file travels with the bundle to small boards.
"""


def collect_expectations(run: Verification, engine: str) -> Expectations:
    """Choose inputs of a finished run, and embed them with the engine and the reference.

    Adversarial inputs are the stored ones that fool the engine, and those that the first attack of the budget crafts on
    the reference and on the engine from the nearest ties, whether or not the engine withstands them.
    """
    model, reference = run.models.engines[engine], run.models.reference
    count = samples_per_set(run.modality.input)
    blocks = list(run.blocks())
    margins = np.concatenate([model.centers.margins(block.embeddings[f"clean@{engine}"]) for block in blocks])
    ties = np.sort(np.argsort(margins, kind="stable")[:count])
    clean = np.unique(np.linspace(0, len(margins) - 1, min(count, len(margins))).round().astype(int))
    (x_clean, y_clean), (x_ties, y_ties) = pick(run, clean, ties)
    sets = [(CLEAN, x_clean, y_clean), (TIE, x_ties, y_ties)]
    won = [(block.winners[engine], block.y) for block in blocks if engine in block.winners]
    if any(len(winners.rows) for winners, _ in won):
        x_won = np.concatenate([winners.x_adv for winners, _ in won if len(winners.rows)])[:count]
        y_won = np.concatenate([y[winners.rows] for winners, y in won])[:count]
        sets.append((ADVERSARIAL, x_won, y_won.astype(np.int64)))
    threat, seed = run.samples.threat, run.samples.seed
    for source in (reference, model):
        if source.gradient is not None:
            attack = run.budget.first(threat.norm)
            x_adv = run_attack(attack, source, x_ties, y_ties, threat, route="selftest", seed=seed).x_adv
            sets.append((ADVERSARIAL, x_adv.astype(np.float32), y_ties))
    x, y = np.concatenate([part[1] for part in sets]), np.concatenate([part[2] for part in sets])
    kind = np.concatenate([np.full(len(part[1]), part[0], np.int64) for part in sets])
    sha256, place = str(model.info["sha256"]), place_of(model.runner.fingerprint)
    return Expectations(x, y, kind, embed(model, x), embed(reference, x), sha256, place)


def samples_per_set(spec: TensorSpec) -> int:
    """How many samples of each of the sets are stored at most."""
    return max(1, min(MOST, BYTES // (SETS * math.prod(spec.shape) * np.dtype(np.float32).itemsize)))


def pick(run: Verification, *wanted: NDArray[np.int64]) -> list[tuple[Floats, NDArray[np.int64]]]:
    """Inputs and classes of held-out samples at each of the sorted places; their blocks are read once, one by one."""
    indices = {int(place) // BLOCK for places in wanted for place in places}
    found: list[tuple[list[Floats], list[NDArray[np.int64]]]] = [([], []) for _ in wanted]
    for _, samples in run.samples.blocks(indices):
        for places, (x, y) in zip(wanted, found, strict=True):
            rows = places[(places >= samples.first) & (places < samples.first + len(samples))] - samples.first
            x.append(samples.x[rows])
            y.append(samples.y[rows])
    return [(np.concatenate(x), np.concatenate(y).astype(np.int64)) for x, y in found]
