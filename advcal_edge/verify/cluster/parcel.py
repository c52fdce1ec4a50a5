"""A bundle, and an engine outside it, as bytes: all that a worker without a shared disk needs to attack."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError, BundleError, first_line
from advcal_edge.limits import DOCUMENT_BYTES, LISTED_BYTES
from advcal_edge.manifest import MANIFEST
from advcal_edge.runtime.engine import choose_engine, listed_name
from advcal_edge.runtime.engine_file import EngineFile, is_plan
from advcal_edge.runtime.metadata import metadata_path
from advcal_edge.storage import inside, make_folder, read_bytes, write_error
from advcal_edge.verify.models import path_in_report

BUNDLE, ENGINE = "bundle", "engine"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A parcel on the disk of a worker."""

    bundle: Bundle
    engine: Path | None
    """The engine that the bundle does not list, if one was sent."""


def pack(bundle: Bundle, engine: str | None) -> tuple[bytes, str | None]:
    """A tar of the files that the manifest lists and of `engine` with its weights, and the engine's name in it.

    The name is None if the bundle lists the engine, or none was chosen. Nothing else in the bundle's folder travels.

    Raises:
        BundleError: a file is missing, or was changed since it was listed.
        EngineError: no such engine, or it cannot be read.
    """
    files = {f"{BUNDLE}/{name}": bundle.read(name, LISTED_BYTES) for name in bundle.manifest["files"]}
    files[f"{BUNDLE}/{MANIFEST}"] = json.dumps(bundle.manifest, allow_nan=False).encode()
    path = None if engine is None else choose_engine(bundle, engine)
    name = None
    if path is not None and listed_name(bundle, path) is None:
        file, named = EngineFile.of(path), path_in_report(bundle, path)
        # a worker's report names the engine as one here does: by its place in the bundle's folder, or its file's name
        inner = path.resolve().is_relative_to(bundle.path.resolve())
        name = f"{BUNDLE if inner else ENGINE}/{named}"
        files[name] = file.data
        files |= {f"{Path(name).parent.as_posix()}/{beside}": data for beside, data in file.weights.items()}
        beside = metadata_path(path)
        if is_plan(path) and beside.is_file():
            files[f"{Path(name).parent.as_posix()}/{beside.name}"] = read_bytes(beside, DOCUMENT_BYTES, BundleError)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for place, data in files.items():
            entry = tarfile.TarInfo(place)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue(), name


def unpack(data: bytes, engine: str | None, folder: Path) -> Unpacked:
    """Write a parcel into an empty folder, open its bundle and compare every file with the manifest.

    Only regular files whose names stay inside the folder are written.

    Raises:
        BundleError: damaged, other entries than files, a name that leads out of the folder, or a file that the
            manifest does not list so.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for entry in tar:
                plain = entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE)  # a sparse one may unpack to any size
                content = tar.extractfile(entry) if plain else None
                if content is None:
                    raise BundleError(f"a parcel holds `{entry.name}`, which is no regular file")
                path = inside(folder, entry.name)
                make_folder(path.parent)
                with path.open("xb") as file:  # a second file of this name is refused
                    file.write(content.read())
    except OSError as error:
        raise write_error(folder, error) from error
    except AdvcalError:
        raise
    except Exception as error:  # tarfile may raise almost anything
        raise BundleError(f"a parcel cannot be unpacked: {first_line(error)}") from error
    bundle = Bundle.open(folder / BUNDLE)
    for name in bundle.manifest["files"]:
        bundle.file(name)
    return Unpacked(bundle, None if engine is None else inside(folder, engine))
