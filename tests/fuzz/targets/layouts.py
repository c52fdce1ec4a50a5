"""The lists of public data sets, and how their files are arranged."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from fuzz.case import Action, Scene, Target
from fuzz.layout_lists import LISTS
from fuzz.mutation import spoil, spoil_lines
from fuzz.poisons import CONTROLS, NAMES, NUMBERS, PATHS, TEXTS

WORDS = (
    *TEXTS,
    *PATHS,
    *NAMES,
    *CONTROLS,
    *map(str, NUMBERS[:24]),
    "../../outside,1,dog",
    "/etc/passwd 0",
    "<!DOCTYPE a>",
)


def write_set(scene: Scene) -> Sequence[Action]:
    """A copy of one set with one of its lists spoilt."""
    copy = scene.folder / "set"
    shutil.copytree(scene.source, copy)
    if scene.spoilt:
        lists = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
        chosen = scene.rng.choice(lists)
        data = chosen.read_bytes()
        if chosen.suffix == ".mat" or scene.rng.random() < 0.35:
            chosen.write_bytes(spoil(data, scene.rng))
        else:
            chosen.write_bytes(spoil_lines(data.decode(), scene.rng, WORDS).encode("utf-8", "surrogatepass"))
        if scene.rng.random() < 0.05:
            chosen.unlink()
    return (Action("layout", (Path(scene.seed).name.split()[0], "set"), ("set",)),)


TARGETS = (Target("layout", tuple(f"layouts/{name}" for name in LISTS), write_set, 120),)
