"""Whether a valid block can come from a run: its samples, its models, its attacks."""

from __future__ import annotations

from collections.abc import Iterator

from advcal_edge.errors import BundleError
from advcal_edge.verify.block import FIRST, Attempt, Block
from advcal_edge.verify.model_set import REFERENCE, ModelSet
from advcal_edge.verify.samples import BLOCK, HeldOut

Shape = tuple[int, ...]


def check_fit(block: Block, index: int, models: ModelSet, samples: HeldOut, shape: Shape, where: str) -> None:
    """Refuse a valid block that cannot come from this run; `shape` is that of one input.

    Raises:
        BundleError: other samples, models or attacks than those of the run; the message begins with `where`.
    """
    for misfit in misfits(block, index, models, samples, shape):
        raise BundleError(
            f"block {index} of {where} {misfit}; expected one of this run",
            hint=f"remove {where} and run again: other samples, engines or sources took part",
        )


def misfits(block: Block, index: int, models: ModelSet, samples: HeldOut, shape: Shape) -> Iterator[str]:
    """Describe what does not fit."""
    classes = len(models.reference.centers.labels)
    n = size_of(index, samples)
    if (block.first, len(block)) != (index * BLOCK, n):
        yield f"holds {len(block)} samples from {block.first} on, not {n} from {index * BLOCK} on"
        return
    everything, engines = set(models.all), set(models.engines)
    missing = (everything - block.rank.keys()) | (engines - block.drift.keys()) | (engines - block.winners.keys())
    if missing:
        yield f"knows nothing of {', '.join(sorted(missing))}"
    ranks = [block.y, *block.rank.values(), *(rank for attempt in block.attempts for rank in attempt.rank.values())]
    if any(rank.size and not 0 <= rank.min() <= rank.max() < classes for rank in ranks):
        yield f"has labels or ranks beyond {classes} classes"
    for attempt in block.attempts:
        if unheard := judges_of(attempt, models) - attempt.rank.keys():
            yield f"has an attack by {attempt.crafted_on} that {', '.join(sorted(unheard))} did not judge"
    if any(winners.rows.size and winners.clean.shape[1:] != shape for winners in block.winners.values()):
        yield f"has pictures of another shape than {shape}"
    if (block.anchored is None) is not (samples.read_anchor is None):
        yield f"has {'no' if block.anchored is None else 'a'} distance of the reference from stored embeddings"
    width = models.reference.centers.dim
    kept = dict.fromkeys(embeddings_of(models, samples), (n, width))
    if {name: z.shape for name, z in block.embeddings.items()} != kept:
        yield f"has other embeddings than {', '.join(kept) or 'none'}"


def size_of(index: int, samples: HeldOut) -> int:
    """Number of samples of a block."""
    return min(BLOCK, len(samples) - index * BLOCK)


def judges_of(attempt: Attempt, models: ModelSet) -> set[str]:
    """Names of the models that must have judged an attack for the reports that include it."""
    side = set(models.engines) if attempt.aimed_at is None else {attempt.aimed_at}
    return {REFERENCE, *side, *(models.sources if attempt.route == FIRST else ())}


def embeddings_of(models: ModelSet, samples: HeldOut) -> list[str]:
    """Names of the embeddings that a block keeps, see `Block`."""
    names = [f"clean@{judge}" for judge in models.judges]
    if samples.partner is None or len(samples.partner) < 2:
        return names
    for side in models.judges:
        if models.all[side].gradient is not None:
            names += [f"{side}@{judge}" for judge in (models.judges if side == REFERENCE else (REFERENCE, side))]
    return names
