"""An engine file read once: the bytes that are hashed are the bytes that run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from advcal_edge.commands import command
from advcal_edge.errors import EngineError
from advcal_edge.limits import ENGINE_BYTES
from advcal_edge.manifest import MANIFEST
from advcal_edge.runtime.weights import PLANS, combine, find_weights, read_weights
from advcal_edge.storage import read_bytes, sha256_bytes, sha256_file


@dataclass(frozen=True, slots=True, eq=False)
class EngineFile:
    """The bytes of an engine and of the files beside it that hold its weights, and one hash of all of them."""

    path: Path
    data: bytes
    weights: Mapping[str, bytes]
    """By the name of the file."""
    sha256: str
    """Hexadecimal, as from `graph_digest`: of `data` only, if there are no weights beside it."""

    @classmethod
    def of(cls, engine: str | Path | EngineFile) -> EngineFile:
        """Read and hash a file, and the files beside it that hold its weights; an `EngineFile` is returned unchanged.

        Raises:
            EngineError: missing, not a regular file, unreadable, too large, or weights linked from another folder.
        """
        if isinstance(engine, EngineFile):
            return engine
        path = Path(engine)
        data = read_bytes(path, ENGINE_BYTES, EngineError)
        places = find_weights(path, data)
        weights = read_weights(
            path, places, lambda name: read_bytes(places[name], ENGINE_BYTES, EngineError, follow=False)
        )
        digests = {name: sha256_bytes(content) for name, content in weights.items()}
        return cls(path, data, weights, combine(path, sha256_bytes(data), digests))


def graph_digest(path: Path) -> str:
    """Hexadecimal sha256 of an engine and its weights as in `EngineFile`, without keeping them in memory.

    Raises:
        EngineError: a file cannot be read.
    """
    try:
        digests = {name: sha256_file(place) for name, place in find_weights(path).items()}
        return combine(path, sha256_file(path), digests)
    except OSError as error:
        raise EngineError(f"cannot read the graph `{path}`: {error.strerror or error}") from error


def is_plan(path: Path) -> bool:
    """Is a file a TensorRT plan, by its name?"""
    return path.suffix in PLANS


def export_command(engine: Path, options: str = "") -> str:
    """`advcal-edge export` for the bundle that contains `engine`, quoted; with BUNDLE if it is not in a bundle."""
    bundle = next((folder for folder in engine.parents[:2] if (folder / MANIFEST).is_file()), "BUNDLE")
    return f"`{command('export', bundle, *options.split())}`"
