"""An engine file read once: the bytes that are hashed are the bytes that run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from advcal_edge.commands import command
from advcal_edge.errors import EngineError
from advcal_edge.limits import ENGINE_BYTES
from advcal_edge.manifest import MANIFEST
from advcal_edge.storage import read_bytes, sha256_bytes, sha256_file

PLANS = frozenset({".plan", ".engine", ".trt"})


@dataclass(frozen=True, slots=True, eq=False)
class EngineFile:
    """The bytes of a graph or a plan, those of the weights beside a graph, and the hash of both."""

    path: Path
    data: bytes
    weights: bytes | None
    sha256: str
    """Hexadecimal, as from `graph_digest`: of `data` only, if there are no weights beside it."""

    @classmethod
    def of(cls, engine: str | Path | EngineFile) -> EngineFile:
        """Read and hash a file, and the weights beside it if there are any; an `EngineFile` is returned unchanged.

        Raises:
            EngineError: missing, not a regular file, unreadable or too large.
        """
        if isinstance(engine, EngineFile):
            return engine
        path = Path(engine)
        data = read_bytes(path, ENGINE_BYTES, EngineError)
        beside = weights_beside(path)
        if is_plan(path) or not beside.is_file():
            return cls(path, data, None, sha256_bytes(data))
        weights = read_bytes(beside, ENGINE_BYTES, EngineError)
        return cls(path, data, weights, combine(sha256_bytes(data), sha256_bytes(weights)))


def graph_digest(path: Path) -> str:
    """Hexadecimal sha256 of a graph file, followed by its `.data` file if it has one.

    Raises:
        EngineError: the file cannot be read.
    """
    try:
        if not weights_beside(path).is_file():
            return sha256_file(path)
        return combine(sha256_file(path), sha256_file(weights_beside(path)))
    except OSError as error:
        raise EngineError(f"cannot read the graph `{path}`: {error.strerror or error}") from error


def combine(graph: str, weights: str) -> str:
    """One hexadecimal digest of a graph and the weights beside it, from the digests of both."""
    return sha256_bytes(bytes.fromhex(graph) + bytes.fromhex(weights))


def is_plan(path: Path) -> bool:
    """Is a file a TensorRT plan, by its name?"""
    return path.suffix in PLANS


def weights_beside(path: Path) -> Path:
    """Path at which an exporter stores the weights of a graph that is too large for one file."""
    return path.with_name(path.name + ".data")


def export_command(engine: Path, options: str = "") -> str:
    """`advcal-edge export` for the bundle that contains `engine`, quoted; with BUNDLE if it is not in a bundle."""
    bundle = next((folder for folder in engine.parents[:2] if (folder / MANIFEST).is_file()), "BUNDLE")
    return f"`{command('export', bundle, *options.split())}`"
