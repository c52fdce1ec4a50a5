"""Hand out the pieces of a run to workers, check what comes back, and decide as `--merge` does."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.documents import parse_json
from advcal_edge.errors import BundleError, ConfigError, EngineError, first_line
from advcal_edge.limits import BLOCK_BYTES, REPORT_BYTES, Limit
from advcal_edge.report.value import Value
from advcal_edge.verify.block import Block
from advcal_edge.verify.cluster.order import order_for
from advcal_edge.verify.cluster.parcel import pack
from advcal_edge.verify.cluster.pool import Answer, Pool, Where
from advcal_edge.verify.cluster.worker import SAME, Piece, difference, work
from advcal_edge.verify.engine_checks import EngineChecks, read_curve
from advcal_edge.verify.model_set import REFERENCE
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.recheck import recheck
from advcal_edge.verify.report import Report
from advcal_edge.verify.run import UNWATCHED, Watch, finish, open_bundle, open_run, state_root
from advcal_edge.verify.standing import Standing
from advcal_edge.verify.verification import Verification

LOSSES = 3
"""Workers that a piece may lose: one that kills each of them would go on for ever."""
AHEAD = 2
"""Pieces that are handed out for each worker, so that none waits for its next."""


def verify_spread(
    bundle: Bundle | str | Path,
    where: Where,
    options: VerifyOptions = VerifyOptions(),  # noqa: B008, frozen
    *,
    state: Path | None = None,
    watch: Watch = UNWATCHED,
) -> list[Report]:
    """Verify with many workers; the reports are those of one process but for the seconds.

    Workers measure one piece at a time: a block of samples, or the checks of one engine. Whatever has come back is kept
    on this machine, so an interrupted run is resumed by the same call, with any workers or none. A piece whose worker
    died is given to another one. In the end the models here confirm the results, as for `merge_shards`.

    Raises:
        ConfigError: options that cannot be honoured, no cluster, or a worker of other versions, devices or models.
        BundleError: results that this run cannot have given; or as for `verify`.
        EngineError: a piece that lost `LOSSES` workers; or as for `verify`.
        DependencyError: the package for the cluster, or one that the options need, is not installed.
    """
    if options.rebuilds:
        raise ConfigError(
            "workers and `--rebuilds` exclude each other: each worker would build other engines",
            hint="leave out `--workers` and `--cluster`",
        )
    opened = open_bundle(bundle)
    with open_run(opened, options, state or state_root(opened)) as run:
        watch.opened(run, options)
        run.models.check(run.samples.head(1).x)
        with _pool(opened, where, options, run) as (pool, order):
            watch.said(f"the work goes to {pool.describe()}")
            Spread(run, pool, order, watch).run()
        recheck(run, watch.progress)
        return finish(opened, run, watch)


@contextmanager
def _pool(bundle: Bundle, where: Where, options: VerifyOptions, run: Verification) -> Iterator[tuple[Pool, str]]:
    parcel, engine = pack(bundle, options.engine) if where.far else (None, None)
    order = order_for(run.state.run(), bundle, options, parcel, engine)
    with where.open(parcel) as pool:
        yield pool, order.to_text()


@dataclass(slots=True)
class Spread:
    """A run on a pool: what is waiting, what is being measured, and what has come back."""

    verification: Verification
    pool: Pool
    order: str
    watch: Watch
    standings: dict[str, Standing] = field(default_factory=dict)
    _waiting: deque[Piece] = field(default_factory=deque)
    _running: dict[Future[Answer], Piece] = field(default_factory=dict)
    _losses: Counter[Piece] = field(default_factory=Counter)
    _unmeasured: set[str] = field(default_factory=set)
    """The reference and engines whose notes are missing."""
    _blocks: deque[int] = field(default_factory=deque)
    """Indices of the blocks that are yet to be kept, in order."""
    _early: dict[int, Block] = field(default_factory=dict)
    """Of a sequential run the blocks that came back too early: looks follow the order of the samples."""

    def run(self) -> None:
        """Measure all that is missing.

        Raises:
            ConfigError: a worker that would take part in another run.
            BundleError: results that this run cannot have given.
            EngineError: a piece that lost too many workers, or that a worker could not measure.
        """
        run = self.verification
        self.standings = run.standings()
        self._blocks.extend(sorted(run.waiting(range(run.samples.count), self.standings)))
        names = run.unmeasured()
        self._unmeasured.update(names)
        self._waiting.extend([*names, *self._blocks])
        self.watch.stand([*self.standings.values()])
        self.watch.progress("attack", run.samples.count - len(self._blocks), run.samples.count)
        try:
            while (self._waiting or self._running) and not self._settled():
                for piece, answer in self._answers():
                    if isinstance(piece, str):
                        self._keep_note(piece, answer)
                    else:
                        self._take_block(piece, answer)
                    self._keep_blocks()
        finally:
            for future in self._running:
                future.cancel()

    def _settled(self) -> bool:
        """May a sequential run stop? Only with all notes, and after the block that decides, as in one process."""
        if not self.verification.sequential or self._unmeasured:
            return False
        return all(standing.settled for standing in self.standings.values())

    def _answers(self) -> Iterator[tuple[Piece, Answer]]:
        """Hand out pieces, wait for an answer, and give those that are there; pieces of dead workers wait again."""
        while self._waiting and len(self._running) < AHEAD * max(1, self.pool.width):
            piece = self._waiting.popleft()
            self._running[self.pool.submit(work, self.order, piece)] = piece
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            piece = self._running.pop(future)
            try:
                answer = future.result()
            except self.pool.lost as error:
                self._lose(piece, error)
                continue
            except Exception as error:  # a worker without this package, or whose cluster could not read the call
                raise EngineError(
                    f"a worker of {self.pool.describe()} did not measure {name_of(piece)}:"
                    f" {type(error).__name__}: {first_line(error)}",
                    hint="install the same version of advcal-edge, with the same extras, on every worker",
                ) from error
            check_answer(answer, piece, self.verification.state.run())
            yield piece, answer

    def _lose(self, piece: Piece, error: BaseException) -> None:
        self._losses[piece] += 1
        if self._losses[piece] >= LOSSES:
            raise EngineError(
                f"{name_of(piece)} lost {LOSSES} workers, one after the other; expected one of them to finish it",
                hint="what has come back is kept; look at the memory of the workers, then give the same command again",
            ) from error
        self.watch.said(f"a worker was lost; {name_of(piece)} goes to another one")
        self._waiting.appendleft(piece)

    def _keep_note(self, name: str, answer: Answer) -> None:
        where = f"the note on {name} from {answer['worker']}"
        note = parse_json(content_of(answer, where, REPORT_BYTES), where, BundleError)
        if not isinstance(note, dict):
            raise BundleError(f"{where} is a {type(note).__name__}; expected an object")
        if name == REFERENCE:
            read_curve(Value(note, where))
        else:
            self.standings[name].judge(EngineChecks.from_json(note).checks)
        self.verification.state.write(name, note)
        self._unmeasured.discard(name)
        self.watch.stand([*self.standings.values()])

    def _take_block(self, index: int, answer: Answer) -> None:
        where = f"block {index} from {answer['worker']}"
        block = Block.from_bytes(content_of(answer, where, BLOCK_BYTES), where)
        self.verification.check(index, block)
        self._early[index] = block

    def _keep_blocks(self) -> None:
        """Keep what came back; of a sequential run only what follows on what is kept, up to the block that decides."""
        run = self.verification
        if not run.sequential:
            ready = sorted(self._early)
        else:
            ready = [] if self._unmeasured else list(takewhile(self._early.__contains__, self._blocks))
        for index in ready:
            if self._settled():
                return
            self._blocks.remove(index)
            run.keep(index, self._early.pop(index), self.standings)
            self.watch.stand([*self.standings.values()])
            self.watch.progress("attack", run.samples.count - len(self._blocks), run.samples.count)


def check_answer(answer: Answer, piece: Piece, run: Mapping[str, Any]) -> None:
    """Refuse an answer that tells of an error, or of another run than the one of `run.json`.

    Raises:
        EngineError: the worker could not measure the piece.
        ConfigError: it has other versions, devices or models.
    """
    if "error" in answer:
        kind = ConfigError if answer.get("other_run") else EngineError
        raise kind(f"{answer['worker']} did not measure {name_of(piece)}: {answer['error']}", hint=answer.get("hint"))
    if words := difference(answer["run"], run):
        raise ConfigError(f"{answer['worker']} measured {name_of(piece)} in another run: {words}", hint=SAME)


def content_of(answer: dict[str, Any], where: str, limit: Limit) -> bytes:
    """What a worker measured, as bytes of at most `limit`.

    Raises:
        BundleError: something else, or more.
    """
    content = answer.get("content")
    if not isinstance(content, bytes):
        raise BundleError(f"{where} holds a {type(content).__name__}; expected bytes")
    limit.check(len(content), where, BundleError)
    return content


def name_of(piece: Piece) -> str:
    """A piece as text."""
    return f"the note on {piece}" if isinstance(piece, str) else f"block {piece}"
