"""A bundle, and an engine outside it, as bytes: all that a worker without a shared disk needs to attack."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
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
    """The engine to verify, if one was named."""


def pack(bundle: Bundle, engine: str | None) -> tuple[bytes, str | None]:
    """A tar of the files that the manifest lists, but for reports, and the name in it of the engine to verify, if any.

    An engine that is not listed travels too, with its weights. Nothing else in the bundle's folder does.

    Raises:
        BundleError: a file is missing, or was changed since it was listed.
        EngineError: no such engine, or it cannot be read.
    """
    listed = {name: entry for name, entry in bundle.manifest["files"].items() if not name.startswith("reports/")}
    files = {f"{BUNDLE}/{name}": bundle.read(name, LISTED_BYTES) for name in listed}
    files[f"{BUNDLE}/{MANIFEST}"] = json.dumps({**bundle.manifest, "files": listed}, allow_nan=False).encode()
    if engine is None:
        return archive(files), None
    path = choose_engine(bundle, engine)
    if (own := listed_name(bundle, path)) is not None:
        return archive(files), f"{BUNDLE}/{own}"
    # a worker names the engine as it is named here: by its place in the bundle's folder, or else by its file's name
    within = path.resolve().is_relative_to(bundle.path.resolve())
    name = f"{BUNDLE if within else ENGINE}/{path_in_report(bundle, path)}"
    folder, file = Path(name).parent.as_posix(), EngineFile.of(path)
    files |= {name: file.data, **{f"{folder}/{beside}": data for beside, data in file.weights.items()}}
    metadata = metadata_path(path)
    if is_plan(path) and metadata.is_file():
        files[f"{folder}/{metadata.name}"] = read_bytes(metadata, DOCUMENT_BYTES, BundleError)
    return archive(files), name


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar of regular files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for place, data in files.items():
            entry = tarfile.TarInfo(place)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


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
