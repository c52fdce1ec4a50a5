"""One directory that holds everything a calibrated encoder is: manifest, adapter, centers, samples, graphs, reports."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.centers import Centers
from advcal_edge.errors import BundleError
from advcal_edge.probe import Probe, ProbeFile
from advcal_edge.spec import Modality
from advcal_edge.storage import canonical, sha256_bytes, sha256_file, write_atomic, write_error
from advcal_edge.threat import ThreatModel

SCHEMA = "advcal-edge/bundle/1"
REPORT_SCHEMA = "advcal-edge/report/2"  # `verify` writes it, the page is rendered from it, the runtime trusts it
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk; every file is listed in the manifest with its hash and checked before it is used."""

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def create(cls, path: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Bundle:
        """Write a new bundle beside its place, then rename it; an existing bundle there is replaced whole.

        Raises:
            BundleError: `path` is in use by something that is no bundle, or cannot be written.
        """
        check_destination(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        except OSError as error:
            raise write_error(path, error) from error
        try:
            staging.chmod(0o755)
            write_atomic(staging / MANIFEST, encode({"schema": SCHEMA, **manifest, "files": {}}))
            cls(staging, {"schema": SCHEMA, **manifest, "files": {}}).add(files)
            if path.exists():
                old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
                path.replace(old / path.name)
                try:
                    staging.replace(path)
                except OSError:
                    (old / path.name).replace(path)
                    raise
                finally:
                    shutil.rmtree(old, ignore_errors=True)
            else:
                staging.replace(path)
        except OSError as error:
            raise write_error(path, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open a bundle and check the shape of its manifest; files are checked when they are used.

        Raises:
            BundleError: no bundle there, unreadable manifest, unknown schema, or a path that leaves the bundle.
        """
        source = path / MANIFEST
        try:
            manifest = json.loads(source.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise BundleError(
                f"`{path}` is no bundle: `{MANIFEST}` is missing",
                hint="make one: `advcal-edge calibrate --modality thermal --out B`",
            ) from error
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise BundleError(
                f"`{source}` cannot be read: {error}", hint="calibrate again, or copy the bundle again"
            ) from error
        if not isinstance(manifest, dict):
            raise BundleError(f"`{source}` holds a {type(manifest).__name__}; expected an object")
        if manifest.get("schema") != SCHEMA:
            raise BundleError(
                f"`{source}` has schema `{manifest.get('schema')}`; this version reads `{SCHEMA}`",
                hint="install the version of advcal-edge that wrote it, or calibrate again",
            )
        files = manifest.get("files")
        if not isinstance(files, dict):
            raise BundleError(f"`{source}` lists no files")
        for name, entry in files.items():
            inside(path, name)
            if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
                raise BundleError(f"`{source}` gives no sha256 for `{name}`")
        return cls(path, manifest)

    def file(self, name: str) -> Path:
        """Path of a listed file, after checking its hash.

        Raises:
            BundleError: not listed, missing, or changed since it was written.
        """
        entry = self.manifest["files"].get(name)
        if entry is None:
            raise BundleError(f"bundle `{self.path}` has no `{name}`", hint=making(name, self.path))
        path = inside(self.path, name)
        if not path.is_file():
            raise BundleError(
                f"bundle `{self.path}` lacks `{name}`, which its manifest lists", hint=making(name, self.path)
            )
        found = sha256_file(path)
        if found != entry["sha256"]:
            raise BundleError(
                f"`{path}` was changed or truncated: sha256 is {found[:12]}, the manifest says {entry['sha256'][:12]}",
                hint=making(name, self.path),
            )
        return path

    def identity(self) -> str:
        """Hash of the manifest without reports and plans: what was calibrated and exported.

        Whoever looked at it since, and for whichever devices plans were built of it.
        """
        kept = {
            name: entry
            for name, entry in self.manifest["files"].items()
            if not name.startswith(("reports/", "engines/"))
        }
        return sha256_bytes(canonical({**self.manifest, "files": kept}))

    def has(self, name: str) -> bool:
        """Whether the manifest lists `name`."""
        return name in self.manifest["files"]

    def add(self, files: Mapping[str, bytes | Path], **sections: Any) -> Bundle:
        """Add or replace files (bytes, or staged paths that are moved) and top-level manifest sections.

        The manifest never lists a file that is not there: names about to be replaced leave it first.

        Raises:
            BundleError: a name leaves the bundle, or the disk refuses.
        """
        targets = {name: inside(self.path, name) for name in files}
        current = Bundle.open(self.path).manifest  # another command may have added files since this one opened it
        listed = dict(current["files"])
        if any(name in listed for name in files):
            kept = {name: entry for name, entry in listed.items() if name not in files}
            write_atomic(self.path / MANIFEST, encode({**current, "files": kept}))
        for name, content in files.items():
            target = targets[name]
            if isinstance(content, bytes):
                write_atomic(target, content)
            else:
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    content.replace(target)
                except OSError as error:
                    raise write_error(target, error) from error
            listed[name] = {"sha256": sha256_file(target), "bytes": target.stat().st_size}
        manifest = {**current, **sections, "files": dict(sorted(listed.items()))}
        write_atomic(self.path / MANIFEST, encode(manifest))
        return Bundle.open(self.path)

    def remove(self, names: Collection[str], **sections: Any) -> Bundle:
        """Take listed files out of the manifest and then off the disk, and replace top-level sections.

        Names that the manifest does not list are left alone.

        Raises:
            BundleError: the disk refuses.
        """
        current = Bundle.open(self.path).manifest
        kept = {name: entry for name, entry in current["files"].items() if name not in names}
        write_atomic(self.path / MANIFEST, encode({**current, **sections, "files": kept}))
        for name in current["files"].keys() - kept.keys():
            target = inside(self.path, name)
            try:
                target.unlink(missing_ok=True)
            except OSError as error:
                raise write_error(target, error) from error
        return Bundle.open(self.path)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder inside the bundle for files under way; it is gone afterwards, whatever happened."""
        try:
            folder = Path(tempfile.mkdtemp(dir=self.path, prefix=".staging."))
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            yield folder
        except OSError as error:
            raise write_error(self.path, error) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def section(self, name: str) -> Mapping[str, Any]:
        """A top-level object of the manifest.

        Raises:
            BundleError: missing or not an object.
        """
        found = self.manifest.get(name)
        if not isinstance(found, dict):
            raise BundleError(f"`{self.path / MANIFEST}` has no section `{name}`")
        return found

    @property
    def modality(self) -> Modality:
        """The sensor this bundle is for."""
        return Modality.from_json(self.section("modality"))

    @property
    def threat(self) -> ThreatModel:
        """The threat model it was calibrated against."""
        return ThreatModel.from_json(self.section("threat"))

    def centers(self) -> Centers:
        """The frozen centers, hash checked."""
        return Centers.load(self.file("centers.safetensors"))

    def probe(self) -> Probe:
        """The held-out samples that `verify` attacks, hash checked."""
        return self._samples("probe.npz")

    def calibration(self) -> Probe:
        """Training samples kept for the quantiser, disjoint from the probe, hash checked."""
        return self._samples("calibration.npz")

    def probe_file(self) -> Path:
        """Path of those samples, hash and labels checked, for reading them block by block."""
        path = self.file("probe.npz")
        self._check_labels(path, ProbeFile.open(path, self.modality.input).y)
        return path

    def _samples(self, name: str) -> Probe:
        path = self.file(name)
        probe = Probe.load(path, self.modality.input)
        self._check_labels(path, probe.y)
        return probe

    def _check_labels(self, path: Path, y: NDArray[np.int64]) -> None:
        classes = len(self.centers().labels)
        if len(y) and not (y.min() >= 0 and y.max() < classes):
            raise BundleError(f"`{path}` has labels {y.min()} to {y.max()} for {classes} centers")


def check_destination(path: Path) -> None:
    """Refuse to replace anything that is not a bundle.

    Raises:
        BundleError: `path` exists and is neither a bundle nor an empty folder.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise BundleError(f"`{path}` exists and is no bundle; expected a new folder", hint="choose another `--out`")
    if path.is_dir() and any(path.iterdir()) and not is_bundle(path):
        raise BundleError(
            f"`{path}` holds other files and no bundle; expected a new folder", hint="choose another `--out`"
        )


def is_bundle(path: Path) -> bool:
    """Whether a folder holds a bundle of any version and nothing that its manifest does not list."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        listed = {MANIFEST, *manifest["files"]}
        ours = str(manifest["schema"]).startswith("advcal-edge/bundle/")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    found = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
    return ours and found <= listed


def inside(root: Path, name: object) -> Path:
    """The place of `name` below `root`.

    Raises:
        BundleError: the name is absolute, climbs out, or passes through a link that leads out.
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or not isinstance(name, str) or "\\" in name or "\0" in name or parts[0] == "/" or ".." in parts:
        raise BundleError(f"manifest of `{root}` names `{name}`, which leaves the bundle; expected a path inside it")
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root.resolve()):
        raise BundleError(f"`{path}` is a link that leaves the bundle; expected a file inside it")
    return path


def making(name: str, path: Path) -> str:
    """The command that makes `name`."""
    if name.startswith("onnx/"):
        return f"export again: `advcal-edge export {path}`"
    if name.startswith("engines/"):
        return f"build again: `advcal-edge export {path} --trt`"
    if name.startswith("reports/"):
        return f"verify again: `advcal-edge verify {path}`"
    return "calibrate again, or copy the bundle again"


def encode(manifest: Mapping[str, Any]) -> bytes:
    """Manifest as JSON that people can read and diff."""
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()
