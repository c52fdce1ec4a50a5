"""Results of a block of samples after the attacks: facts per sample and a few pictures, without the inputs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.documents import parse_json
from advcal_edge.errors import BundleError
from advcal_edge.npz import open_npz
from advcal_edge.report.raised import Raised
from advcal_edge.report.results import SECOND_LOOK
from advcal_edge.report.value import Value
from advcal_edge.retrieval import Rank

Bools = NDArray[np.bool_]
HINT = "remove it, then run again"
FIRST = "first"
"""Route of the first attack: gradient in an engine's own report, transfer in the others'."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One attack on the samples of one block: which were attacked, at what cost, and the rank of each true label."""

    route: str
    attack: str
    crafted_on: str
    aimed_at: str | None
    """The engine whose report it belongs to; None for all reports."""
    attacked: Bools
    queries: NDArray[np.int64]
    rank: Mapping[str, Rank]
    """Per judge the rank (n,) of the true label for the crafted input; 0 where the sample was not attacked."""

    @property
    def key(self) -> tuple[str, str, str, str | None]:
        """Identity of the attempt; the same in all blocks."""
        return self.route, self.attack, self.crafted_on, self.aimed_at


@dataclass(frozen=True, slots=True, eq=False)
class Winners:
    """The first input per sample that fools one engine: whether it survives the sensor's grid, and a few to show."""

    fooled: Bools
    survived: Bools
    moved: NDArray[np.float32]  # mean change of a value (n,), in the units of the input
    rows: NDArray[np.int64]
    clean: NDArray[np.float32]  # (m, ...) of the `rows` kept
    x_adv: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sureness:
    """Margins (4, n) of one engine's answers, see `answers.Answers`, and the queries of each attack on the rule."""

    margins: NDArray[np.float64]
    queries: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """All results for samples `first` to `first + n`."""

    first: int
    y: NDArray[np.int64]
    rank: Mapping[str, Rank]
    """Per model the rank (n,) of the true label on clean input."""
    attempts: Sequence[Attempt]
    drift: Mapping[str, NDArray[np.float64]]
    """Per engine cosine, change of scores and margin (3, n), see `checks.drift`."""
    winners: Mapping[str, Winners]
    embeddings: Mapping[str, NDArray[np.float32]]
    """`SET@JUDGE` -> z (n, d); SET is `clean` or, if samples have partners, the model the mismatch was crafted on."""
    seconds: float
    raised: Mapping[str, Raised] = field(default_factory=dict)
    """Per engine the calls that ended in an error, if there were any."""
    anchored: NDArray[np.float64] | None = None
    """Distance (n,) of the reference's embedding of each clean input from the stored one, if there are any."""
    answers: Mapping[str, Sureness] = field(default_factory=dict)
    """Per engine how sure it was of its answers, unless the run does not look for a rule."""

    def __len__(self) -> int:
        return len(self.y)

    def fooled(self, engine: str, *, looks: bool = True) -> Bools:
        """Where (n,) any input in the report of `engine` fools it; without `looks` only those as they were crafted."""
        flags = np.zeros(len(self), np.bool_)
        for attempt in self.attempts:
            counted = looks or attempt.route != SECOND_LOOK
            if counted and attempt.aimed_at in (None, engine) and engine in attempt.rank:
                flags |= attempt.rank[engine] > 0
        return flags

    def without_arrays(self) -> Block:
        """Copy without images and embeddings."""
        none = np.empty(0, np.float32)
        winners = {name: replace(inputs, clean=none, x_adv=none) for name, inputs in self.winners.items()}
        return replace(self, winners=winners, embeddings={})

    def to_bytes(self) -> bytes:
        """As npz without pickle."""
        heads = [[*attempt.key, list(attempt.rank)] for attempt in self.attempts]
        raised = {name: calls.to_json() for name, calls in self.raised.items()}
        head: dict[str, Any] = {"attempts": heads, "first": self.first, "seconds": self.seconds, "raised": raised}
        head["answers"] = {name: dict(answers.queries) for name, answers in self.answers.items()}
        arrays: dict[str, NDArray[Any]] = {"y": self.y, "head": np.array(json.dumps(head))}
        arrays |= {f"rank/{name}": rank for name, rank in self.rank.items()}
        for k, attempt in enumerate(self.attempts):
            arrays |= {f"attempt/{k}/attacked": attempt.attacked, f"attempt/{k}/queries": attempt.queries}
            arrays |= {f"attempt/{k}/rank/{name}": rank for name, rank in attempt.rank.items()}
        arrays |= {f"drift/{name}": drift for name, drift in self.drift.items()}
        for name, winners in self.winners.items():
            arrays |= {f"winners/{name}/{slot}": getattr(winners, slot) for slot in Winners.__slots__}
        arrays |= {f"z/{name}": z for name, z in self.embeddings.items()}
        arrays |= {f"answers/{name}": answers.margins for name, answers in self.answers.items()}
        arrays |= {} if self.anchored is None else {"anchored": self.anchored}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> Block:
        """Read what `to_bytes` wrote.

        Raises:
            BundleError: damaged.
        """
        try:
            with open_npz(io.BytesIO(content), f"`{name}`", limits.BLOCK_BYTES, BundleError, hint=HINT) as file:
                arrays = {key: file.array(key) for key in file.names}
                block = cls._of(arrays, parse_json(str(arrays["head"]), f"`head` of `{name}`", BundleError))
                block._check()
        except BundleError as error:
            raise BundleError(f"`{name}` is damaged: {error.message}", hint=error.hint or HINT) from error
        return block

    @classmethod
    def _of(cls, arrays: Mapping[str, NDArray[Any]], head: Mapping[str, Any]) -> Block:
        attempts = [
            Attempt(
                str(route),
                str(attack),
                str(crafted_on),
                None if aimed_at is None else str(aimed_at),
                arrays[f"attempt/{k}/attacked"],
                arrays[f"attempt/{k}/queries"],
                {judge: arrays[f"attempt/{k}/rank/{judge}"] for judge in judges},
            )
            for k, (route, attack, crafted_on, aimed_at, judges) in enumerate(head["attempts"])
        ]
        engines = [key.removeprefix("drift/") for key in arrays if key.startswith("drift/")]
        return cls(
            first=int(head["first"]),
            y=arrays["y"],
            rank={key.removeprefix("rank/"): array for key, array in arrays.items() if key.startswith("rank/")},
            attempts=attempts,
            drift={engine: arrays[f"drift/{engine}"] for engine in engines},
            winners={
                engine: Winners(*(arrays[f"winners/{engine}/{slot}"] for slot in Winners.__slots__))
                for engine in engines
            },
            embeddings={key.removeprefix("z/"): z for key, z in arrays.items() if key.startswith("z/")},
            seconds=float(head["seconds"]),
            raised={engine: Raised.read(Value(calls, engine)) for engine, calls in head.get("raised", {}).items()},
            anchored=arrays.get("anchored"),
            answers={
                engine: Sureness(
                    arrays[f"answers/{engine}"], {str(name): int(count) for name, count in queries.items()}
                )
                for engine, queries in head.get("answers", {}).items()
            },
        )

    def _check(self) -> None:
        """Check the type and shape of every array.

        Raises:
            ValueError: an array has another type or shape.
        """
        n = self.y.size
        expect("y", self.y, "iu", (n,))
        ranks = [*self.rank.values(), *(rank for attempt in self.attempts for rank in attempt.rank.values())]
        for rank in ranks:
            expect("rank", rank, "iu", (n,))
        for attempt in self.attempts:
            expect("attacked", attempt.attacked, "b", (n,))
            expect("queries", attempt.queries, "iu", (n,))
        for drift in self.drift.values():
            expect("drift", drift, "f", (3, n))
        for winners in self.winners.values():
            kept = winners.rows.size
            expect("fooled", winners.fooled, "b", (n,))
            expect("survived", winners.survived, "b", (n,))
            expect("moved", winners.moved, "f", (n,))
            expect("rows", winners.rows, "iu", (kept,))
            if winners.rows.size and not 0 <= winners.rows.min() <= winners.rows.max() < n:
                raise ValueError(f"`rows` beyond {n} samples")
            for array in (winners.clean, winners.x_adv):
                expect("a picture", array, "f", (kept, *winners.clean.shape[1:]))
        for z in self.embeddings.values():
            expect("z", z, "f", (n, *z.shape[1:2]))
        for answers in self.answers.values():
            expect("answers", answers.margins, "f", (4, n))
        if self.anchored is not None:
            expect("anchored", self.anchored, "f", (n,))


def expect(name: str, array: NDArray[Any], kinds: str, shape: tuple[int, ...]) -> None:
    """Refuse an array of another kind or shape.

    Raises:
        ValueError: the array has another kind or shape.
    """
    if array.dtype.kind not in kinds or array.shape != shape:
        raise ValueError(f"`{name}` is {array.dtype} {array.shape}; expected kind `{kinds}` of shape {shape}")
