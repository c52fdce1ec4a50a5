"""Processes of this machine. One that dies is replaced, and costs the block that it was at."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Lock

from advcal_edge.verify.cluster.pool import Answer, Call, count_of


class ProcessLostError(Exception):
    """A process ended in the middle of a call."""


class Worker:
    """One process, which answers one call at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # engines and torch have threads, which a fork would break
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other,), name="verification worker", daemon=True)
        self.process.start()
        other.close()  # so that the death of the process is the end of the connection

    def call(self, call: Call, order: str, piece: int | str) -> Answer:
        """Have the process answer.

        Raises:
            ProcessLostError: it died.
        """
        try:
            self.connection.send((call, order, piece))
            answer: Answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise ProcessLostError(f"process {self.process.pid} died") from error
        return answer

    def end(self) -> None:
        """End the process, whatever it is at. A thread that waits for it then gets `ProcessLostError`."""
        self.process.kill()
        self.process.join()


def serve(connection: Connection) -> None:
    """Answer calls until the other side closes the connection, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one ends these
    while True:
        try:
            call, order, piece = connection.recv()
            connection.send(call(order, None, piece))
        except (EOFError, OSError):
            return


class Processes:
    """A number of workers, each with a thread here that waits for it."""

    lost: tuple[type[BaseException], ...] = (ProcessLostError,)

    def __init__(self, count: int) -> None:
        self.width = count
        self._all: list[Worker] = []
        self._starting, self._closed = Lock(), False
        self._idle: SimpleQueue[Worker | None] = SimpleQueue()
        for _ in range(count):
            self._idle.put(None)  # started when first needed, by the thread that needs it
        self._threads = ThreadPoolExecutor(count, "worker")

    def submit(self, call: Call, order: str, piece: int | str) -> Future[Answer]:
        """Start a call on an idle process, or on the first that becomes idle."""
        return self._threads.submit(self._call, call, order, piece)

    def _call(self, call: Call, order: str, piece: int | str) -> Answer:
        worker = self._idle.get() or self._start()
        try:
            answer = worker.call(call, order, piece)
        except BaseException:
            worker.end()
            worker.connection.close()
            self._idle.put(None)
            raise
        self._idle.put(worker)
        return answer

    def _start(self) -> Worker:
        with self._starting:
            if self._closed:
                raise ProcessLostError("the pool was closed")
            worker = Worker()
            self._all.append(worker)
        return worker

    def describe(self) -> str:
        """How many."""
        return count_of(self.width)

    def close(self) -> None:
        """End all processes and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._starting:
            self._closed = True
        for worker in self._all:
            worker.end()
        self._threads.shutdown()
        for worker in self._all:
            worker.connection.close()


@contextmanager
def processes(count: int) -> Iterator[Processes]:
    """Processes that share the cores of this machine, until the block ends. What the user set of threads stays.

    Their temporary files lie in one folder that is removed with them, however they end.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = Processes(count)
    with TemporaryDirectory(prefix="advcal-edge.") as folder:
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, usable // count))
        try:
            with environment(OMP_NUM_THREADS=threads, TMPDIR=folder):
                yield pool
        finally:
            pool.close()


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables for processes that are started inside the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
