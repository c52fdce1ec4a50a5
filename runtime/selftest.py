"""Does an engine still answer, on this device, as it did when it was verified?

Inputs that were stored by `verify` are replayed one by one and as one batch, each twice. How much may change follows
from what the engine changed of the reference when it was exported: other honest kernels round, as export did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.commands import command
from advcal_edge.errors import EngineError
from advcal_edge.expectations import ADVERSARIAL, KINDS, Expectations
from advcal_edge.provenance import processor
from advcal_edge.runtime.relative import find_relative
from advcal_edge.runtime.verified import find_verified

if TYPE_CHECKING:
    from advcal_edge.runtime.embedder import Embedder

Floats = NDArray[np.float32]
Status = Literal["verified", "retested", "failed"]
REPEATS = 1e-6  # length of the change between two equal calls, as the check `repeatable` of a report allows
FLOOR = 2e-3  # least rounding of other kernels: TF32 keeps ten bits of a factor
SLACK = 2.0  # an embedding may move by this many roundings: one then, one now
ALLOWANCE = 0.02  # share of the adversarial inputs that may newly succeed, the margin of a verification


@dataclass(frozen=True, slots=True)
class Selftest:
    """Result of a self-test: what was replayed, how far embeddings moved, and what is wrong."""

    status: Status
    """`retested` if it passed in another place than the one where the engine was verified, or as another file."""
    verified_sha256: str
    """Hash of the engine that was verified, and whose stored inputs were replayed: this one, or its relative."""
    failures: tuple[str, ...]
    differences: tuple[str, ...]
    """What changed since the engine was verified: version, provider, driver, card or processor, or the file."""
    counts: Mapping[str, int]
    """Inputs of each kind."""
    moved: float
    """The largest length of the change of an embedding."""
    limit: float
    flips: int
    """Labels that changed, excused or not."""
    passes: int
    """Calls of the engine."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Does the engine answer as it did?"""
        return self.status != "failed"

    @property
    def reservation(self) -> str:
        """What to say of an engine that was retested, after `is`."""
        return f"only retested here, not verified: {'; '.join(self.differences) or 'its report is of another provider'}"

    def require_passed(self, engine: Path, bundle: Path) -> None:
        """Refuse an engine that answers in another way.

        Raises:
            EngineError: it failed.
        """
        if not self.passed:
            raise EngineError(
                f"engine `{engine}` fails its self-test: {'; '.join(self.failures)}",
                hint=f"`{command('verify', bundle, '--engine', engine)}`",
            )

    def require_verified(self, engine: Path, bundle: Path, accept: str) -> None:
        """Refuse an engine that was only retested here; `accept` says how the caller takes one all the same.

        Raises:
            EngineError: it was verified in another place, or as another file.
        """
        if self.status != "verified":
            raise EngineError(
                f"engine `{engine}` is {self.reservation}",
                hint=f"{accept}, or verify here: `{command('verify', bundle, '--engine', engine)}`",
            )

    def __str__(self) -> str:
        return (
            f"{self.status}, {self.passes} passes in {self.seconds:.2f} s, moved {self.moved:.1g} of {self.limit:.1g}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "status": self.status,
            "verified_sha256": self.verified_sha256,
            "failures": list(self.failures),
            "differences": list(self.differences),
            "counts": dict(self.counts),
            "moved": self.moved,
            "limit": self.limit,
            "flips": self.flips,
            "passes": self.passes,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of the stored inputs: figures, and failures as text."""

    failures: tuple[str, ...]
    moved: float
    limit: float
    flips: int
    passes: int


def run_selftest(embedder: Embedder, bundle: Bundle) -> Selftest:
    """Replay the stored inputs of a verification on an opened engine: its own, else that of its relative.

    Raises:
        BundleError: nothing is stored for these bytes, or it was changed.
        EngineError: neither the engine nor a relative has a passing report, so there is nothing to be retested for.
    """
    sha256, started, relative = embedder.runner.sha256, time.perf_counter(), None
    if not embedder.verified and find_verified(bundle, sha256) is None:  # a verified one was judged as it was opened
        relative = find_relative(bundle, embedder.runner.path, sha256)
    verified, centers = sha256 if relative is None else relative.sha256, embedder.centers
    stored = Expectations.read(bundle, verified, embedder.spec, centers.dim, len(centers.labels))
    replayed = replay(stored, embedder.runner.run, centers)
    changed = differences(stored.place, place_of(embedder.fingerprint))
    if relative is not None:
        changed = (relative.difference, *changed)
    status: Status = "failed" if replayed.failures else "verified" if embedder.verified and not changed else "retested"
    return Selftest(
        status,
        verified,
        replayed.failures,
        changed,
        {name: int((stored.kind == index).sum()) for index, name in enumerate(KINDS)},
        replayed.moved,
        replayed.limit,
        replayed.flips,
        replayed.passes,
        time.perf_counter() - started,
    )


def replay(stored: Expectations, embed: Callable[[Floats], Floats], centers: Centers) -> Replay:
    """Embed the stored inputs alone and together, each twice, and compare with what is stored."""
    rounding = max(FLOOR, float(np.median(lengths(stored.z - stored.reference))))
    limit, failures, moved, flips, passes = SLACK * rounding, list[str](), 0.0, 0, 0
    one_by_one = [stored.x[k : k + 1] for k in range(len(stored.x))]
    for name, batches in (("batch 1", one_by_one), (f"batch {len(stored.x)}", [stored.x])):
        try:
            first, second = (np.concatenate([embed(x) for x in batches]) for _ in range(2))
        except EngineError as error:
            failures.append(f"{name}: {error.message}")
            continue
        passes += 2 * len(batches)
        if first.shape != stored.z.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
            failures.append(f"{name}: returned NaN or infinite values, or another shape")
            continue
        if (apart := float(lengths(first - second).max())) > REPEATS:
            failures.append(f"{name}: two equal calls differ by {apart:.2g}; expected at most {REPEATS:g}")
        change = lengths(first - stored.z)
        moved = max(moved, float(change.max()))
        if (far := int((change > limit).sum())) > 0:
            failures.append(
                f"{name}: {far} of {len(change)} embeddings moved by more than {limit:.2g}, at most {change.max():.2g}"
            )
        labels, before = centers.predict(first), centers.predict(stored.z)
        flipped = labels != before
        flips = max(flips, int(flipped.sum()))
        failures += [f"{name}: {words}" for words in wrong_flips(stored, centers, labels, flipped, rounding)]
    return Replay(tuple(failures), moved, limit, flips, passes)


def wrong_flips(
    stored: Expectations,
    centers: Centers,
    labels: NDArray[np.int64],
    flipped: NDArray[np.bool_],
    rounding: float,
) -> list[str]:
    """Labels that changed although the decision was no closer than the rounding of the engine.

    A change of z by r moves the decision margin, the difference of two cosines, by at most 2 r: only a closer tie may
    flip.
    """
    beyond = flipped & (centers.margins(stored.z) > 2 * rounding)
    crafted = stored.kind == ADVERSARIAL
    words = []
    if (count := int((beyond & ~crafted).sum())) > 0:
        words.append(f"{count} labels of clean inputs changed that were no tie")
    resisted = crafted & (centers.predict(stored.z) == stored.y)
    won, allowed = int((beyond & resisted).sum()), int(ALLOWANCE * crafted.sum())
    if won > allowed:
        words.append(
            f"{won} adversarial inputs succeed that the engine had resisted, and were no tie;"
            f" expected at most {allowed}"
        )
    return words


def lengths(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Euclidean length (n,) of rows (n, d)."""
    found: NDArray[np.float64] = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return found


def place_of(fingerprint: str) -> dict[str, str]:
    """Where an engine runs: the fingerprint without the hash of the bytes, and the processor."""
    words = [word for word in fingerprint.split() if not word.startswith("sha256:")]
    return {"runs on": " ".join(words), "processor": processor()}


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """What is not as it was, as text."""
    keys = sorted(before.keys() | now.keys())
    return tuple(
        f"{key}: {before.get(key, 'unknown')} when verified, {now.get(key, 'unknown')} here"
        for key in keys
        if before.get(key) != now.get(key)
    )
