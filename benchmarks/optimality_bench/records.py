"""Results of one model and norm in one JSON file, a line for each attack, library and seed; written after each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advcal_edge.storage import write_atomic
from optimality_bench.measure import Distances


@dataclass(frozen=True, slots=True)
class Key:
    """What is measured at once, and never twice."""

    attack: str
    library: str
    seed: int


class Records:
    """The records of a file by key. A stopped run loses at most the record it was at.

    Two programs may not write into one file at once.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """Continue the file at `path`, or begin it.

        Raises:
            SystemExit: it was measured with other settings.
        """
        self.path, self.settings, self.levels = path, settings, 2 ** settings["rounds"]
        self.found: dict[Key, dict[str, Any]] = {}
        if path.exists():
            held = json.loads(path.read_text(encoding="utf-8"))
            other = sorted(k for k in {*held["settings"], *settings} if held["settings"].get(k) != settings.get(k))
            if other:
                was, wanted = ({k: each.get(k) for k in other} for each in (held["settings"], settings))
                raise SystemExit(f"`{path}` was measured with {was}, not with {wanted}; choose another `--out`")
            self.found = {Key(one["attack"], one["library"], one["seed"]): one for one in held["records"]}

    @classmethod
    def read(cls, path: Path) -> Records:
        """The records of a file, with its own settings."""
        return cls(path, json.loads(path.read_text(encoding="utf-8"))["settings"])

    def needs(self, key: Key, version: str) -> bool:
        """Whether a key is still to be measured: not yet, or with another version of the library."""
        return key not in self.found or self.found[key]["version"] != version

    def add(self, key: Key, distances: Distances, eps: float, figures: dict[str, Any]) -> None:
        """Write one record; `distances` (n,) become steps of the grid below `eps`, None where they are larger."""
        steps = [None if d > eps else round(d / eps * self.levels) for d in distances.tolist()]
        named = {"attack": key.attack, "library": key.library, "seed": key.seed}
        self.found[key] = {**named, **figures, "distances": steps}
        lines = ",\n".join(f"  {json.dumps(one)}" for one in self.found.values())
        head = f'{{\n "settings": {json.dumps(self.settings)},\n "records": [\n{lines}\n ]\n}}\n'
        write_atomic(self.path, head.encode())

    def distances(self, key: Key) -> Distances:
        """Distances (n,) as parts of the radius, `inf` where nothing was found."""
        parts = [np.inf if d is None else d / self.levels for d in self.found[key]["distances"]]
        return np.asarray(parts, dtype=np.float64)
