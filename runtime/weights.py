"""The files beside an engine that hold its weights: which ones they are, and one hash of the engine and all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from advcal_edge.errors import EngineError
from advcal_edge.limits import ENGINE_BYTES, MIB, WEIGHTS_FILES
from advcal_edge.storage import open_regular, read_bytes, sha256_bytes

PLANS = frozenset({".plan", ".engine", ".trt"})
GRAPH, IR = ".onnx", ".xml"
KEY = b"location"
"""Every tensor that lies in another file has this key, so a graph without these bytes names no file."""
LONGEST_NAME = 255  # bytes


def usual_name(path: Path) -> str:
    """Name of the file beside an engine where exporters store its weights: NAME.onnx.data, or NAME.bin for NAME.xml."""
    return path.with_suffix(".bin").name if path.suffix == IR else f"{path.name}.data"


def weights_names(path: Path, data: bytes | None = None) -> list[str]:
    """Sorted names of the files where an engine may keep weights: the usual one, and those that a graph names.

    Only plain names in the same folder are returned; `check_graph` refuses a graph that names another place. `data` is
    the content of `path` if it has been read already.

    Raises:
        EngineError: the file cannot be read, or names too many others.
    """
    if path.suffix in PLANS:
        return []
    named: set[str] = set()
    if path.suffix == GRAPH and (mentions(path, KEY) if data is None else KEY in data):
        from advcal_edge.runtime.backends.graph_scan import Scan  # not above: its package imports `engine_file`

        content = read_bytes(path, ENGINE_BYTES, EngineError) if data is None else data
        scan = Scan(content, path)
        with suppress(EngineError):  # no graph: whoever opens it says what is wrong
            scan.model()
        named = scan.files
    names = {usual_name(path), *filter(is_plain, named)}
    WEIGHTS_FILES.check(len(names), f"the weights of `{path}`", EngineError)
    return sorted(names)


def find_weights(path: Path, data: bytes | None = None) -> dict[str, Path]:
    """The files of `weights_names` that exist, by name, with links followed.

    A link may lead to another file of the folder, or to the folder in which the engine itself lies if `path` is a link
    too, as in the cache of a model hub.

    Raises:
        EngineError: as for `weights_names`, or a link leads elsewhere.
    """
    found = {}
    for name in weights_names(path, data):
        beside = path.with_name(name)
        if beside.is_file():
            found[name] = beside.resolve()
            if found[name].parent not in (path.parent.resolve(), path.resolve().parent):
                raise EngineError(
                    f"`{beside}` is a link that leaves the folder of `{path.name}`; expected weights in that folder",
                    hint="put the file itself there",
                )
    return found


def read_weights(path: Path, names: Iterable[str], read: Callable[[str], bytes]) -> dict[str, bytes]:
    """The content of each file by `read`, whose sum is limited to `ENGINE_BYTES`.

    Raises:
        EngineError: together they are larger.
    """
    weights, total = {}, 0
    for name in names:
        weights[name] = read(name)
        total += len(weights[name])
        ENGINE_BYTES.check(total, f"the weights of `{path}`", EngineError)
    return weights


def combine(path: Path, digest: str, weights: Mapping[str, str]) -> str:
    """One hexadecimal sha256 of an engine and its weights, from the digest of each.

    It is `digest` without weights; the hash of both digests if the weights are in the usual file only; otherwise the
    hash of `digest`, followed by the digests of name (UTF-8) and content of each file, sorted by name.
    """
    if not weights:
        return digest
    parts = [digest]
    for name in sorted(weights):
        parts += (
            [weights[name]] if list(weights) == [usual_name(path)] else [sha256_bytes(name.encode()), weights[name]]
        )
    return sha256_bytes(b"".join(map(bytes.fromhex, parts)))


def is_plain(name: str) -> bool:
    """Is this the name of a file in the same folder, without any path, that is no graph?"""
    plain = name.isprintable() and not set(name) & set("/\\") and name not in ("", ".", "..")
    return plain and len(name.encode()) <= LONGEST_NAME and not name.endswith(GRAPH)


def mentions(path: Path, word: bytes) -> bool:
    """Does a file contain these bytes? It is read in parts, and may be larger than the memory.

    Raises:
        EngineError: it cannot be read.
    """
    with open_regular(path, EngineError) as file:
        end = b""
        while part := file.read(MIB):
            seen = end + part
            if word in seen:
                return True
            end = seen[1 - len(word) :]
    return False
