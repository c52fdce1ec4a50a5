"""Write a model repository of Triton from a bundle: an engine for tensors, and an embedder for raw frames."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError
from advcal_edge.expectations import selftest_name
from advcal_edge.export.triton.config import VERSION, embedder_config, engine_config
from advcal_edge.export.triton.served import Served, find_served
from advcal_edge.limits import LISTED_BYTES
from advcal_edge.manifest import MANIFEST
from advcal_edge.runtime.engine import listed_weights
from advcal_edge.runtime.metadata import metadata_path
from advcal_edge.runtime.triton_model import BUNDLE
from advcal_edge.storage import make_folder, sync, temporary_folder, write_atomic, write_error

MODEL = '''"""Raw frames to embeddings and labels, by the bundle beside this file."""

from advcal_edge.runtime.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''
"""The module that Triton's Python backend loads."""

LOOPBACK = ("--http-address", "--grpc-address", "--metrics-address")
"""Triton listens to every network by default, and asks nobody who they are."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A model repository on disk."""

    folder: Path
    engine: str
    """Name of the model that takes tensors."""
    embedder: str
    """Name of the model that takes raw frames."""
    served: Served
    files: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command that serves it, to this machine alone."""
        words = ["tritonserver", "--model-repository", str(self.folder.resolve())]
        return shlex.join([*words, *(word for option in LOOPBACK for word in (option, "127.0.0.1"))])

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        served = self.served
        return {
            "repository": str(self.folder),
            "models": {"engine": self.engine, "embedder": self.embedder},
            "engine": {"name": served.name, "sha256": served.file.sha256, "precision": served.precision},
            "bundle": served.identity,
            "verified": served.verified_on is not None,
            "verified_on": served.verified_on,
            "batch": {"usual": served.batches[0], "largest": served.batches[1]},
            "files": list(self.files),
            "command": self.command,
        }


def write_repository(bundle: Bundle, folder: Path, engine: str = "auto") -> Repository:
    """Write a model repository into a new or empty folder; it appears there whole, or not at all.

    `image_engine` runs the engine with Triton's own backend. `image_embedder` takes raw frames through the `Embedder`;
    beside it lies the part of the bundle that this needs, so that the repository depends on no other folder.

    Raises:
        ConfigError: `folder` is a file, not empty, or inside the bundle.
        EngineError: no such engine, or one that Triton cannot serve.
        BundleError: a file of the bundle was changed, or the disk cannot be written.
    """
    check_free(folder, bundle)
    served = find_served(bundle, engine)
    names = f"{served.modality.name}_engine", f"{served.modality.name}_embedder"
    target = folder.resolve()
    try:
        make_folder(target.parent)
        built = temporary_folder(target.parent, target.name)
        try:
            write_engine(built / names[0], served, engine_config(names[0], served))
            write_embedder(built / names[1], bundle, served, embedder_config(names[1], served))
            files = tuple(sorted(path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()))
            built.chmod(0o755)  # the server runs as another user
            check_free(folder, bundle)
            built.replace(target)  # an empty folder gives way; one that was filled meanwhile does not
            sync(target.parent)
        finally:
            shutil.rmtree(built, ignore_errors=True)
    except OSError as error:
        raise write_error(folder, error) from error
    return Repository(folder, *names, served, files)


def check_free(folder: Path, bundle: Bundle) -> None:
    """Refuse a destination that holds something, or that lies in the bundle.

    Raises:
        ConfigError: see above.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"`--triton {folder}` is a file or a link; expected a new or empty folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(
            f"`--triton {folder}` is not empty; expected a new or empty folder, since nothing is replaced",
            hint=f"name another folder, or remove this one: `rm -r {shlex.quote(str(folder))}`",
        )
    if folder.resolve().is_relative_to(bundle.path.resolve()):
        raise ConfigError(
            f"`--triton {folder}` lies inside the bundle `{bundle.path}`; expected a folder beside it, since a bundle"
            " lists all of its files",
            hint=f"`{command('export', bundle.path, '--triton', bundle.path.with_name('models'))}`",
        )


def write_engine(model: Path, served: Served, config: str) -> None:
    """The model that Triton runs itself: the engine under its own name, with the files that hold its weights."""
    write_atomic(model / "config.pbtxt", config.encode())
    for name, data in {served.file.path.name: served.file.data, **served.file.weights}.items():
        write_atomic(model / VERSION / name, data)


def write_embedder(model: Path, bundle: Bundle, served: Served, config: str) -> None:
    """The model that takes raw frames: a module that loads the part of the bundle beside it."""
    write_atomic(model / "config.pbtxt", config.encode())
    write_atomic(model / VERSION / "model.py", MODEL.encode())
    part = model / VERSION / BUNDLE
    write_atomic(part / MANIFEST, json.dumps(bundle.manifest, indent=2, allow_nan=False).encode())
    for name in needed(bundle, served):
        write_atomic(part / name, bundle.read(name, LISTED_BYTES))


def needed(bundle: Bundle, served: Served) -> Iterator[str]:
    """The files of a bundle that the `Embedder` reads for one engine; their hashes stay in the whole manifest."""
    wanted = [
        "centers.safetensors",
        served.name,
        *listed_weights(bundle, served.name, served.file.data).values(),
        metadata_path(Path(served.name)).as_posix(),
        f"reports/{served.file.sha256[:8]}/report.json",
        selftest_name(served.file.sha256),
    ]
    return (name for name in dict.fromkeys(wanted) if bundle.has(name))
