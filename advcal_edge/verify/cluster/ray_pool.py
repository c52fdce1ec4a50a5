"""Workers of a Ray cluster that is already there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from advcal_edge.errors import ConfigError, DependencyError, first_line
from advcal_edge.verify.cluster.pool import Answer, Call
from advcal_edge.verify.cluster.worker import close

ROUNDS, PAUSE, SECONDS = 3, 0.3, 20.0  # calls go to any process: a pause has them go to as many as there are
START = "start one with `ray start --head`, and name it: `--cluster ray:auto`, or `--cluster ray:HOST:6379`"


class RayPool:
    """The cores of one cluster, each with a process; the parcel lies once in the object store of each machine."""

    def __init__(self, ray: Any, address: str, parcel: bytes | None) -> None:
        found = ray.exceptions
        self.lost: tuple[type[BaseException], ...] = (
            found.WorkerCrashedError,
            found.NodeDiedError,
            found.ObjectLostError,
            found.OutOfMemoryError,
        )
        self._ray, self._address = ray, address
        self._parcel = ray.put(parcel)
        self._remote: dict[Call, Any] = {}
        self._worked: set[str] = set()

    @property
    def width(self) -> int:
        """One call for each core."""
        return int(self._ray.cluster_resources().get("CPU", 0))

    def submit(self, call: Call, order: str, piece: int | str) -> Future[Answer]:
        """Start a call on a worker that Ray chooses."""
        if call not in self._remote:
            self._remote[call] = self._ray.remote(max_retries=0, num_cpus=1)(call)
        future: Future[Answer] = self._remote[call].remote(order, self._parcel, piece).future()
        future.add_done_callback(self._note)
        return future

    def _note(self, future: Future[Answer]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._worked.add(future.result()["worker"])

    def close(self) -> None:
        """Have the processes that worked remove what they keep: Ray ends them without a chance to."""
        ask = self._ray.remote(num_cpus=1)(close)
        for _ in range(ROUNDS):
            if not self._worked:
                return
            with suppress(self._ray.exceptions.GetTimeoutError):
                asked = [ask.remote(PAUSE) for _ in range(self.width)]
                self._worked.difference_update(self._ray.get(asked, timeout=SECONDS))

    def describe(self) -> str:
        """How many, and where."""
        return f"{self.width} cores of Ray at {self._address}"


@contextmanager
def ray_pool(address: str, parcel: bytes | None) -> Iterator[RayPool]:
    """Connect to the cluster at an address like `auto` until the block ends; a connection that was there stays.

    Raises:
        DependencyError: Ray is not installed.
        ConfigError: no cluster there, or one without cores.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise DependencyError("ray", extra="ray", purpose="`--cluster ray:...`") from error
    connected = ray.is_initialized()
    if not connected:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"no Ray cluster answers at `{address}`: {first_line(error)}", hint=START) from error
    try:
        pool = RayPool(ray, address, parcel)
        if not pool.width:
            raise ConfigError(f"the Ray cluster at `{address}` has no cores", hint=START)
        try:
            yield pool
        finally:
            pool.close()
    finally:
        if not connected:
            ray.shutdown()
