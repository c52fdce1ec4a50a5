"""Ask the models again about a run that others did: the clean pass on all samples, and the inputs that were kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.centers import Centers
from advcal_edge.errors import BundleError
from advcal_edge.progress import Progress, silent
from advcal_edge.report.checks import RULES
from advcal_edge.retrieval import Rank, label_rank
from advcal_edge.verify.block import Block
from advcal_edge.verify.checks.comparison import measure_drift
from advcal_edge.verify.model_set import REFERENCE, ModelSet, embed, predict
from advcal_edge.verify.samples import Samples
from advcal_edge.verify.verification import Verification

MOVED = RULES["batch_independent"].limit
"""How far an embedding may move between two machines: as far as an honest engine's moves between two batches."""
FLIPPED = 0.01
"""Share of a block's labels that may differ, near ties all of them. Blocks are whole batches, so the same machine gives
the same bits (bindlite image and thermal, fp32 and int8, 328 samples: none differs); another processor may round
otherwise."""

Floats = NDArray[np.float32]


def recheck(run: Verification, progress: Progress = silent) -> None:
    """Run the clean pass of every block again, on every model, and judge the inputs that were kept again.

    Raises:
        BundleError: a block that these models did not give.
    """
    finished = run.finished()
    for done, (index, samples) in enumerate(run.samples.blocks(finished), 1):
        block = run.block(index)
        for words in disagreements(block, samples, run.models):
            raise BundleError(
                f"block {index} of `{run.state.folder}` {words}; the models of this run say otherwise",
                hint=f"remove `{run.state.folder}` and run its shards again: somebody else's results are in it",
            )
        progress("check", done, len(finished))


def disagreements(block: Block, samples: Samples, models: ModelSet) -> Iterator[str]:
    """Describe where a block differs from what the models say now."""
    if not np.array_equal(block.y, samples.y):
        yield "has other true labels than the samples"
        return
    z = {name: embed(model, samples.x) for name, model in models.all.items()}
    for name, model in models.all.items():
        if model.calls == 1 and other_ranks(block.rank[name], z[name], model.centers, samples.y):
            yield f"has other clean labels for {name}"
    for engine, model in models.engines.items():
        if model.calls == 1 and other_drift(block.drift[engine], z[REFERENCE], z[engine], model.centers):
            yield f"has another drift for {engine}"
        sure = block.answers.get(engine)
        if model.calls == 1 and sure is not None and other_margins(sure.margins[0], z[engine], model.centers):
            yield f"has other margins of the answers of {engine}"
        yield from other_winners(block, samples, model, engine)
    yield from other_embeddings(block.embeddings, z, models)


def other_ranks(stored: Rank, z: Floats, centers: Centers, y: NDArray[np.int64]) -> bool:
    """Do ranks (n,) differ from those of embeddings z (n, d) by more than near ties allow, or in too many samples?

    A unit vector that moves by `MOVED` moves each score by that much, in units of cosine.
    """
    now = label_rank(centers, z, y)
    other = np.flatnonzero(now != stored)
    if len(other) > math.ceil(FLIPPED * len(y)):
        return True
    scores = centers.scores(z[other].astype(np.float64)) * centers.temperature
    true = scores[np.arange(len(other)), y[other]][:, None]
    least, most = ((scores > true + shift).sum(axis=1) for shift in (2 * MOVED, -2 * MOVED))
    return bool(((stored[other] < least) | (stored[other] > most)).any())


def other_drift(stored: NDArray[np.float64], reference: Floats, engine: Floats, centers: Centers) -> bool:
    """Does a drift (3, n) differ from the one between these embeddings (n, d)?"""
    now = measure_drift(reference, engine, centers).stacked()
    return bool((np.abs(now - stored) > 2 * MOVED).any())


def other_margins(stored: NDArray[np.float64], z: Floats, centers: Centers) -> bool:
    """Do clean margins (n,) differ from those of these embeddings (n, d)? Each of two scores may move by `MOVED`."""
    return bool((np.abs(centers.margins(z) - stored) > 2 * MOVED).any())


def other_winners(block: Block, samples: Samples, model: AttackedModel, name: str) -> Iterator[str]:
    """Compare the inputs that were kept with the clean samples, and let the engine judge those of attacks again."""
    stored = block.winners[name]
    if not len(stored.rows):
        return
    clean, y = samples.x[stored.rows], samples.y[stored.rows]
    if not np.array_equal(stored.clean, clean):
        yield "shows other clean samples than those of the bundle"
        return
    moved = np.abs(stored.x_adv - clean).reshape(len(clean), -1).mean(axis=1)
    if not np.allclose(moved, stored.moved[stored.rows], rtol=1e-4, atol=1e-7):
        yield f"states another change of the inputs that fool {name}"
    attacked = block.fooled(name, looks=False)[stored.rows]  # a second look may fool it in its own batches alone
    right = int(((predict(model, stored.x_adv) == y) & attacked).sum())
    if model.calls == 1 and right > 1:  # one may be a near tie, in a smaller batch
        yield f"holds {right} of {int(attacked.sum())} inputs that do not fool {name}"


def other_embeddings(stored: Mapping[str, Floats], z: Mapping[str, Floats], models: ModelSet) -> Iterator[str]:
    """Compare the clean embeddings that are kept for retrieval."""
    for name, kept in stored.items():
        place, _, judge = name.partition("@")
        if place != "clean" or judge not in z or models.all[judge].calls != 1:
            continue
        finite = np.isfinite(kept).all(axis=1)  # a row whose engine raised has no embedding, then or now
        moved = np.linalg.norm(kept[finite] - z[judge][finite], axis=1)
        if (finite != np.isfinite(z[judge]).all(axis=1)).any() or not (moved <= MOVED).all():
            yield f"has other clean embeddings of {judge}"
