"""Where the work of a run goes: processes of this machine, or the workers of a cluster that is already there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose

Answer = dict[str, Any]
Call = Callable[[str, "bytes | None", "int | str"], Answer]
"""`worker.work`: an order, a parcel or none, and a piece."""


class Pool(Protocol):
    """Workers that answer calls; which of them does is theirs to say."""

    lost: tuple[type[BaseException], ...]
    """What a future raises if its worker died: the call may be made again."""

    @property
    def width(self) -> int:
        """How many calls the workers can answer at once; clusters may grow and shrink."""

    def submit(self, call: Call, order: str, piece: int | str) -> Future[Answer]:
        """Start a call on some worker; the parcel, which the pool has had before, is its second argument."""

    def describe(self) -> str:
        """Which workers these are, as text."""


def _processes(address: str, parcel: bytes | None) -> AbstractContextManager[Pool]:
    from advcal_edge.verify.cluster.processes import processes

    return processes(int(address))


def _dask(address: str, parcel: bytes | None) -> AbstractContextManager[Pool]:
    from advcal_edge.verify.cluster.dask_pool import dask_pool

    return dask_pool(address, parcel)


def _ray(address: str, parcel: bytes | None) -> AbstractContextManager[Pool]:
    from advcal_edge.verify.cluster.ray_pool import ray_pool

    return ray_pool(address, parcel)


CLUSTERS = {"dask": _dask, "ray": _ray}
HINT = "like `--cluster dask:tcp://HOST:8786` or `--cluster ray:auto`"


@dataclass(frozen=True, slots=True)
class Where:
    """A choice of workers: `processes` with their number, or a kind of cluster with its address."""

    kind: str
    address: str

    @classmethod
    def here(cls, count: int) -> Where:
        """So many processes of this machine.

        Raises:
            ConfigError: fewer than one.
        """
        if count < 1:
            raise ConfigError(f"`--workers {count}` leaves nobody to work; expected at least 1")
        return cls("processes", str(count))

    @classmethod
    def parse(cls, text: str) -> Where:
        """Read `dask:tcp://HOST:8786` or `ray:auto`.

        Raises:
            ConfigError: an unknown kind of cluster, or no address.
        """
        kind, _, address = text.strip().partition(":")
        choose("cluster", kind, CLUSTERS)
        if not address:
            raise ConfigError(f"`--cluster {text}` has no address", hint=HINT)
        return cls(kind, address)

    @property
    def far(self) -> bool:
        """May the workers lack this machine's disk, so that they need the bundle as a parcel?"""
        return self.kind in CLUSTERS

    @contextmanager
    def open(self, parcel: bytes | None) -> Iterator[Pool]:
        """Start the processes, or connect to the cluster and give all of its workers the parcel.

        Raises:
            DependencyError: the package for the cluster is not installed.
            ConfigError: no cluster there, or one without workers.
        """
        opener = CLUSTERS.get(self.kind, _processes)
        with opener(self.address, parcel) as pool:
            yield pool

    def __str__(self) -> str:
        return f"{self.kind}:{self.address}" if self.far else count_of(int(self.address))


def count_of(processes: int) -> str:
    """A number of processes as text."""
    return f"{processes} process{'' if processes == 1 else 'es'}"
