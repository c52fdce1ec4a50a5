"""Collect the blocks of a run into the measurements of one report: attacks, rankings of partners, example inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.errors import BundleError
from advcal_edge.report.checks import Check, judge_survival
from advcal_edge.report.results import DIRECTIONS, SIDES, AttackResult, Places, Retrieval
from advcal_edge.retrieval import GALLERY, Rank, neighbour_places, recall_in_blocks
from advcal_edge.spec import Modality
from advcal_edge.verify.block import FIRST, Attempt, Block
from advcal_edge.verify.crafting import SHOWN
from advcal_edge.verify.model_set import ENGINE, REFERENCE, predict
from advcal_edge.verify.thumbnails import can_show, views


def gather_attacks(blocks: Iterable[Block], engine: str, sources: Sequence[str]) -> list[AttackResult]:
    """Every attack that belongs in the report of `engine`, over all blocks, in the order in which it ran.

    Raises:
        BundleError: blocks of different runs.
    """
    columns: list[list[Attempt]] = []
    for block in blocks:
        attempts = [attempt for attempt in block.attempts if attempt.aimed_at in (None, engine)]
        columns = columns or [[attempt] for attempt in attempts]
        if [attempt.key for attempt in attempts] != [column[0].key for column in columns]:
            raise BundleError(
                f"the samples from {block.first} on were attacked otherwise than those before",
                hint="remove the folder with the state of this run and start again",
            )
        for column, attempt in zip(columns, attempts, strict=True):
            if column[0] is not attempt:
                column.append(attempt)
    return [merge(column, engine, sources) for column in columns]


def merge(attempts: Sequence[Attempt], engine: str, sources: Sequence[str]) -> AttackResult:
    """Merge one attack over all blocks; sources judge only the first attack."""
    one = attempts[0]
    own = one.crafted_on == engine
    judges = {REFERENCE: REFERENCE, ENGINE: engine}
    if one.route == FIRST:
        judges |= {name: name for name in sources}
    return AttackResult(
        route=("gradient" if own else "transfer") if one.route == FIRST else one.route,
        attack=one.attack,
        crafted_on=ENGINE if own else one.crafted_on,
        attacked=np.concatenate([attempt.attacked for attempt in attempts]),
        queries=int(sum(attempt.queries[attempt.attacked].sum() for attempt in attempts)),
        ranks={name: np.concatenate([item.rank[judge] for item in attempts]) for name, judge in judges.items()},
    )


def gather_clean(blocks: Sequence[Block], engine: str, sources: Sequence[str]) -> dict[str, Rank]:
    """Per model of the report the rank (n,) of the true label on clean inputs."""
    names = {REFERENCE: REFERENCE, ENGINE: engine, **{name: name for name in sources}}
    return {name: np.concatenate([block.rank[model] for block in blocks]) for name, model in names.items()}


def check_rounding(blocks: Sequence[Block], engine: str, modality: Modality) -> Check:
    """Check whether the inputs that fool the engine survive the sensor's grid."""
    winners = [block.winners[engine] for block in blocks]
    fooled, survived, moved = (
        np.concatenate([getattr(item, name) for item in winners]) for name in ("fooled", "survived", "moved")
    )
    step = modality.input.width / (2**modality.bit_depth - 1)
    steps = float(moved[fooled].mean()) / step if fooled.any() else 0.0
    return judge_survival(int(fooled.sum()), int(survived[fooled].sum()), steps, modality.bit_depth)


def measure_retrieval(
    blocks: Callable[[], Iterator[Block]], engine: str, partner: NDArray[np.float32] | None, attack: str
) -> Retrieval | None:
    """Rank the partners for clean embeddings and for all crafted ones; None without pairs. Blocks follow each other."""
    if partner is None or len(partner) < 2:
        return None
    judges = dict(zip(SIDES, (REFERENCE, engine), strict=True))
    block = next(blocks())
    start, stored = block.first, block.embeddings

    def recall(name: str) -> Mapping[str, Rank]:
        ranks = recall_in_blocks(lambda: (block.embeddings[name] for block in blocks()), partner, start)
        return {way: getattr(ranks, way) for way in DIRECTIONS}

    def places(crafted_on: str) -> Places:
        return {side: recall(f"{crafted_on}@{judge}") for side, judge in judges.items()}

    crafted = {side: model for side, model in judges.items() if f"{model}@{engine}" in stored}
    found = {side: places(model) for side, model in crafted.items()}
    return Retrieval(attack, places("clean"), found, len(partner))


def measure_neighbours(blocks: Callable[[], Iterator[Block]], engine: str) -> Rank:
    """Place (m,) of each clean sample's nearest neighbour among the reference's embeddings, found by the engine's."""
    names = (f"clean@{REFERENCE}", f"clean@{engine}")
    z: dict[str, NDArray[np.float32]] = {}
    for block in blocks():
        z = {name: np.concatenate([z[name], block.embeddings[name]]) if z else block.embeddings[name] for name in names}
        if len(z[names[0]]) >= GALLERY:
            break
    return neighbour_places(*(z[name][:GALLERY] for name in names))


def gallery(model: AttackedModel, modality: Modality, blocks: Iterable[Block], engine: str) -> list[dict[str, Any]]:
    """Clean, amplified difference and adversarial picture of the first few lost samples, as PNG in base64."""
    shown: list[dict[str, Any]] = []
    labels, low, width = model.centers.labels, modality.input.bounds[0], modality.input.width
    for block in blocks if can_show(modality) else ():
        winners = block.winners[engine]
        if not len(winners.rows):
            continue
        before, after = predict(model, winners.clean), predict(model, winners.x_adv)
        for k, row in enumerate(winners.rows):
            if after[k] == block.y[row]:  # an answer that depends on the batch, or on chance
                continue
            entry = {
                "sample": block.first + int(row),
                "truth": labels[block.y[row]],
                "before": label(labels, before[k]),
                "after": label(labels, after[k]),
            }
            shown.append(
                {**entry, **views((winners.clean[k] - low) / width, (winners.x_adv[k] - low) / width, modality)}
            )
            if len(shown) == SHOWN:
                return shown
    return shown


def label(labels: tuple[str, ...], index: int) -> str:
    """The label at `index`; a negative index means that the embedding was not finite."""
    return labels[index] if index >= 0 else "not a number"
