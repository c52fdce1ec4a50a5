"""A few inputs that fool the engine, as pictures in the modality's own look."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from advcal_edge.attacks import Victim
from advcal_edge.spec import Modality
from advcal_edge.verify.block import Block
from advcal_edge.verify.crafting import SHOWN
from advcal_edge.verify.lineup import predict
from advcal_edge.verify.picture import can_show, views


def gallery(victim: Victim, modality: Modality, blocks: Iterable[Block], engine: str) -> list[dict[str, Any]]:
    """Clean, amplified difference and adversarial picture of the first few samples that are lost, as PNG in base64."""
    shown: list[dict[str, Any]] = []
    labels, low, width = victim.centers.labels, modality.input.bounds[0], modality.input.width
    for block in blocks if can_show(modality) else ():
        winners = block.winners[engine]
        if not len(winners.rows):
            continue
        before, after = predict(victim, winners.clean), predict(victim, winners.x_adv)
        for k, row in enumerate(winners.rows):
            entry = {
                "sample": block.first + int(row),
                "truth": labels[block.y[row]],
                "before": named(labels, before[k]),
                "after": named(labels, after[k]),
            }
            shown.append(
                {**entry, **views((winners.clean[k] - low) / width, (winners.x_adv[k] - low) / width, modality)}
            )
            if len(shown) == SHOWN:
                return shown
    return shown


def named(labels: tuple[str, ...], index: int) -> str:
    """The label at `index`; of an embedding that is not finite there is none."""
    return labels[index] if index >= 0 else "not a number"
