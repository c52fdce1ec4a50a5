"""The classes of a data set: those that occur, each with a center."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from advcal_edge.errors import InputError
from advcal_edge.manifest import OBEYED

LISTED = 20  # known classes listed in an error
LONGEST = 200
"""Characters of a label, which stands in the manifest and in reports."""


def check_classes(counts: Mapping[str, int], known: Sequence[str] | None, path: Path) -> tuple[str, ...]:
    """The classes of a data set with `counts` files each, in the order of `known`, or sorted if there are no centers.

    Raises:
        InputError: a class without center or without files, fewer than two classes, or a label that no manifest holds.
    """
    for label in counts:
        if OBEYED.search(label) or not 0 < len(label) <= LONGEST:
            raise InputError(
                f"`{path}` has the class {ascii(label)[:60]}; expected 1 to {LONGEST} printable characters",
                hint="rename it",
            )
    order = {label: place for place, label in enumerate(sorted(counts) if known is None else known)}
    strange = [label for label in counts if label not in order]
    if strange:
        raise InputError(
            f"`{path}` has the class `{strange[0][:60]}`, for which the encoder has no center;"
            f" expected: {_listed(tuple(order))}",
            hint="rename or remove the folder",
        )
    empty = [label for label, count in counts.items() if not count]
    if empty:
        raise InputError(
            f"the class `{empty[0]}` of `{path}` is empty; expected at least two frames",
            hint="put frames into its folder, or remove it",
        )
    if len(counts) < 2:
        held = "1 class" if len(counts) == 1 else f"{len(counts)} classes"
        raise InputError(
            f"`{path}` holds {held}; expected at least two, with one folder a class",
            hint="what is told apart takes two classes: DIR/LABEL/FILE, or the column label of a csv file",
        )
    return tuple(label for label in order if label in counts)


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(f"`{label}`" for label in labels[:LISTED])
    return f"{shown} and {len(labels) - LISTED} more" if len(labels) > LISTED else shown
