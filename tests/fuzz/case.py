"""One input to try: what lies in its folder, and what is done with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

CASE = "case.json"
WORK = "work"

CONTROL = -1
"""Index of cases that mutate nothing: -1 is the first seed of a target, -2 the second."""


@dataclass(frozen=True, slots=True)
class Action:
    """A command line (`cli`), or a call of the Python API by its name in `calls.CALLS`; paths are relative."""

    verb: str
    arguments: tuple[str, ...]
    keeps: tuple[str, ...] = ()
    """Files and folders that it may read and must not change."""
    refuses: bool = False
    """Whether even the unharmed input is refused, because this machine lacks what it takes."""

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "verb": self.verb,
            "arguments": list(self.arguments),
            "keeps": list(self.keeps),
            "refuses": self.refuses,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Action:
        """Read what `to_json` wrote."""
        return cls(data["verb"], tuple(data["arguments"]), tuple(data["keeps"]), data["refuses"])

    def __str__(self) -> str:
        return " ".join([self.verb, *map(ascii, self.arguments)])


@dataclass(frozen=True, slots=True)
class Scene:
    """Where one case is written, from which seed, and whether it is spoilt."""

    corpus: Path
    folder: Path
    seed: str
    rng: Random
    spoilt: bool
    index: int

    @property
    def source(self) -> Path:
        """The seed in the corpus."""
        return self.corpus / self.seed


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of hostile input: the seeds it starts from, and how a case is written from one of them."""

    name: str
    seeds: tuple[str, ...]
    write: Callable[[Scene], Sequence[Action]]
    cases: int
    """How many are tried in CI."""

    def case(self, corpus: Path, folder: Path, seed: int, index: int) -> list[Action]:
        """Write the case (target, seed, index) into `folder` and say what to do with it."""
        rng = Random(f"{self.name}/{seed}/{index}")  # noqa: S311  # reproducible, not secret
        chosen = self.seeds[CONTROL - index] if index < 0 else rng.choice(self.seeds)
        (folder / "tmp").mkdir(parents=True)
        return list(self.write(Scene(corpus, folder, chosen, rng, index >= 0, index)))


def save(folder: Path, head: dict[str, Any], actions: Sequence[Action]) -> None:
    """Say beside an input what it is and what to do with it."""
    document = {**head, "actions": [action.to_json() for action in actions]}
    (folder / CASE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> list[Action]:
    """What to do with a saved input."""
    document = json.loads((folder / CASE).read_text(encoding="utf-8"))
    return [Action.from_json(action) for action in document["actions"]]
