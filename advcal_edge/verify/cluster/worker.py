"""What runs on a worker: open the run once per process, then measure one piece of it per call."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError, BundleError, ConfigError
from advcal_edge.storage import sha256_bytes
from advcal_edge.verify.cluster.order import Order
from advcal_edge.verify.cluster.parcel import Unpacked, unpack
from advcal_edge.verify.samples import HeldOut, Samples
from advcal_edge.verify.verification import Verification

Piece = int | str
"""The index of a block, or the name of the reference or an engine whose checks are to be measured."""

SAME = "install the same versions on all machines, and start all workers on the same kind of device"


class OtherRunError(ConfigError):
    """This worker would not attack the same models in the same way."""


def name() -> str:
    """This process, as an answer tells it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def work(text: str, parcel: bytes | None, piece: Piece) -> dict[str, Any]:
    """Measure one piece of a run. Answers in plain types, so that any version can read the answer of any other.

    The answer holds `worker` and either `run` and `content`, or `error` and `hint`.
    """
    worker = name()
    with _one_at_a_time:
        try:
            place = _workplace(text, parcel)
            return {"worker": worker, "run": place.run.state.run(), "content": place.measure(piece)}
        except AdvcalError as error:
            other = isinstance(error, OtherRunError)
            return {"worker": worker, "error": error.message, "hint": error.hint, "other_run": other}


def close(pause: float = 0.0) -> str:
    """Remove what this process keeps for its next call; gives its name.

    A pause of some seconds keeps it from taking the call that is meant for another process.
    """
    with _one_at_a_time:
        _leave()
    time.sleep(pause)
    return name()


@dataclass(slots=True)
class Reader:
    """The blocks of the samples in ascending order, read in one pass as long as nobody asks for an earlier one."""

    samples: HeldOut
    _next: int = 0
    _blocks: Iterator[tuple[int, Samples]] = field(default_factory=lambda: iter(()))

    def block(self, wanted: int) -> Samples:
        """The block at an index.

        Raises:
            BundleError: there is none.
        """
        if wanted < self._next or self._next == 0:
            self._blocks, self._next = self.samples.blocks(range(self.samples.count)), 0
        for index, samples in self._blocks:
            self._next = index + 1
            if index == wanted:
                return samples
        raise BundleError(f"the samples have no block {wanted}; expected 0 to {self.samples.count - 1}")


@dataclass(slots=True)
class Workplace:
    """A run with all its models loaded, in this process; it lasts until another run is asked for."""

    order: str
    run: Verification
    reader: Reader
    closing: ExitStack

    def measure(self, piece: Piece) -> bytes:
        """A block, or the note on a model, as the state of a run holds it."""
        if isinstance(piece, str):
            return json.dumps(self.run.measure(piece), allow_nan=False).encode()
        return self.run.attack(self.reader.block(piece)).to_bytes()


_one_at_a_time = Lock()  # a worker may have several threads, and engines keep notes of their errors
_workplaces: list[Workplace] = []


def _leave() -> None:
    while _workplaces:
        _workplaces.pop().closing.close()


def _workplace(text: str, parcel: bytes | None) -> Workplace:
    """The workplace for an order: the one of the last call, or a new one in its place.

    Raises:
        BundleError: a damaged parcel.
        OtherRunError: this worker has other versions, devices or models.
        EngineError, DependencyError: the models cannot be opened here.
    """
    if _workplaces and _workplaces[0].order == text:
        return _workplaces[0]
    _leave()
    order = Order.read(text)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="advcal-edge.")))
        place = _unpacked(order, parcel, folder)
        run = stack.enter_context(_open(order, place, folder / "state"))
        if words := difference(run.state.run(), order.run):
            raise OtherRunError(f"it would take part in another run: {words}", hint=SAME)
        run.models.check(run.samples.head(1).x)
        _workplaces.append(Workplace(text, run, Reader(run.samples), stack.pop_all()))
    return _workplaces[0]


def _unpacked(order: Order, parcel: bytes | None, folder: Path) -> Unpacked:
    if order.bundle is not None:
        return Unpacked(Bundle.open(order.bundle), None)
    if parcel is None or sha256_bytes(parcel) != order.parcel:
        raise BundleError(
            "the bundle did not arrive as it was sent: its hash is another one", hint="give the same command again"
        )
    return unpack(parcel, order.engine, folder / "parcel")


def _open(order: Order, place: Unpacked, state: Path) -> Any:
    from advcal_edge.verify.run import open_run  # which imports what hands out the work

    engine = order.options.engine if place.engine is None else str(place.engine)
    options = replace(order.options, engine=engine, cross_check=False)  # done where the run was started
    return open_run(place.bundle, options, state, request=order.run["request"])


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """What differs first between `run.json` of a worker and that of where the run was started; None if nothing does."""
    if found == wanted:
        return None
    place = next(key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key))
    mine, asked = found.get(place), wanted.get(place)
    if isinstance(mine, dict) and isinstance(asked, dict):
        key = next(key for key in sorted({*mine, *asked}) if mine.get(key) != asked.get(key))
        place, mine, asked = f"{place}.{key}", mine.get(key), asked.get(key)
    return f"its `{place}` is `{mine}`; expected `{asked}`"
