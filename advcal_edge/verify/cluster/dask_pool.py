"""Workers of a Dask cluster that is already there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from typing import Any

from advcal_edge.errors import ConfigError, DependencyError, first_line
from advcal_edge.verify.cluster.pool import Answer, Call
from advcal_edge.verify.cluster.worker import close

SECONDS = 20  # to find the scheduler
LEAVING = 3.0  # seconds that workers have to remove what they keep
START = (
    "start them with `dask worker tcp://HOST:8786 --nthreads 1`, where the same version of this package is installed"
)


class DaskPool:
    """The workers of one scheduler; the parcel is copied to all of them once."""

    def __init__(self, client: Any, address: str, parcel: bytes | None) -> None:
        from distributed import KilledWorker

        # cancelled: the last worker that held the parcel, or the answer, is gone
        self.lost: tuple[type[BaseException], ...] = (KilledWorker, CancelledError)
        self._client, self._address, self._parcel = client, address, parcel
        self._executor = client.get_executor(pure=False, retries=0)
        self._copies: Any = None

    @property
    def width(self) -> int:
        """One call for each worker: its threads would wait for each other."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, call: Call, order: str, piece: int | str) -> Future[Answer]:
        """Start a call on a worker that the scheduler chooses."""
        if self._copies is None or self._copies.status != "finished":
            self._copies = self._client.scatter(self._parcel, broadcast=True, hash=False)
        future: Future[Answer] = self._executor.submit(call, order, self._copies, piece)
        return future

    def close(self) -> None:
        """Have every worker remove what it keeps of the run, as far as they are idle soon."""
        there = self._client.scheduler_info(n_workers=-1)["workers"]
        asked = [self._client.submit(close, workers=[address], pure=False) for address in there]
        deadline = time.monotonic() + LEAVING
        for future in asked:
            with suppress(TimeoutError, asyncio.TimeoutError, *self.lost):  # the same error from Python 3.11 on
                future.result(max(0.0, deadline - time.monotonic()))

    def describe(self) -> str:
        """How many, and where."""
        return f"{self.width} workers of Dask at {self._address}"


@contextmanager
def dask_pool(address: str, parcel: bytes | None) -> Iterator[DaskPool]:
    """Connect to the scheduler at an address like `tcp://HOST:8786` until the block ends.

    Raises:
        DependencyError: Dask is not installed.
        ConfigError: no scheduler there, or one without workers.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise DependencyError("distributed", extra="dask", purpose="`--cluster dask:...`") from error
    try:
        client = Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"no Dask scheduler answers at `{address}`: {first_line(error)}",
            hint="start one with `dask scheduler`, and name its address: `--cluster dask:tcp://HOST:8786`",
        ) from error
    with client:
        pool = DaskPool(client, address, parcel)
        if not pool.width:
            raise ConfigError(f"the Dask scheduler at `{address}` has no workers", hint=START)
        try:
            yield pool
        finally:
            pool.close()
