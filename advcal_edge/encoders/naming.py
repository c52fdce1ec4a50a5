"""Names of tensors in checkpoints: the prefixes that training scripts add, and the model that names belong to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from advcal_edge.errors import InputError

NAMED, SHOWN = 4, 80  # names listed in an error, and letters of each; the others are counted

PREFIX = re.compile(r"(?:module|model|_orig_mod|base_model\.model|visual_encoder)\.")
"""What DistributedDataParallel, Lightning, `torch.compile`, peft and larger models put before a name."""

MARKS: Mapping[str, str] = {
    "unibind": r"(backbone\.)?(bind\.modality_|point_encoder\.)",
    "imagebind": r"modality_(preprocessors|trunks|heads)\.",
}
"""How the tensors of a published checkpoint are named, by encoder."""


def match_names(names: Iterable[str], wanted: Callable[[str], bool], path: Path) -> tuple[str, list[str]]:
    """The prefix of the wanted names, and these names in order, without it; plain names need none.

    Raises:
        InputError: no name is wanted, or names with different prefixes are.
    """
    names = sorted(names)
    plain = [name for name in names if wanted(name)]
    if plain:
        return "", plain
    behind: dict[str, list[str]] = {}
    for name in names:
        for prefix in _prefixes(name):
            if wanted(name[len(prefix) :]):
                behind.setdefault(prefix, []).append(name[len(prefix) :])
    if len(behind) > 1:
        raise InputError(
            f"`{path}` holds the tensors of this encoder {len(behind)} times, behind"
            f" {', '.join(f'`{prefix}`' for prefix in behind)}; expected them once",
            hint="save the one that you mean, as a state dict of its own",
        )
    if not behind:
        raise _unknown(names, path)
    return behind.popitem()


def listed(names: list[Any]) -> str:
    """The first few names, and the number of the others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"`{str(name)[:SHOWN]}`" for name in names[:NAMED]) + more


def _prefixes(name: str) -> Iterable[str]:
    """All chains of known prefixes at the start of a name, shortest first."""
    end = 0
    while (found := PREFIX.match(name, end)) is not None:
        end = found.end()
        yield name[:end]


def _unknown(names: list[str], path: Path) -> InputError:
    """The error for a checkpoint of something else, which is named if it is known."""
    found, hint = f"found {listed(names) or 'nothing'}", "give the checkpoint of this encoder with `--weights`"
    for family, mark in MARKS.items():
        if any(re.match(f"(?:{PREFIX.pattern})*{mark}", name) for name in names):
            found, hint = f"its names are those of {family}", f"if you mean that: `--encoder {family}`; else {hint}"
            break
    return InputError(f"`{path}` holds none of the tensors this encoder is made of; {found}", hint=hint)
