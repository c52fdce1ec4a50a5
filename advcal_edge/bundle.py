"""A directory with all parts of a calibrated encoder: manifest, adapter, centers, samples, graphs, reports.

Code that writes bundles or reads samples is imported where it is used: deployment needs neither, and starts faster.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from advcal_edge import limits
from advcal_edge.centers import Centers
from advcal_edge.commands import command
from advcal_edge.documents import parse_json, read_object
from advcal_edge.errors import BundleChangedError, BundleError
from advcal_edge.limits import Limit
from advcal_edge.manifest import CHANGING, MANIFEST, SCHEMA, SECTIONS, check_manifest, check_seals
from advcal_edge.spec import Modality
from advcal_edge.storage import canonical, inside, make_folder, read_bytes, sha256_bytes, sha256_file, write_error
from advcal_edge.threat import ThreatModel

if TYPE_CHECKING:
    from advcal_edge.changes import Staged
    from advcal_edge.checked_file import CheckedFile
    from advcal_edge.probe import Probe, ProbeFile

MISSES = 3  # attempts to find a manifest while nobody writes, before the bundle counts as missing
REPORT_SCHEMA = "advcal-edge/report/4"  # written by `verify`, rendered by pages, derived again by the runtime

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk; every file is listed in the manifest with its hash and checked before it is used."""

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def create(cls, path: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Bundle:
        """Write a new bundle next to `path`, then rename it; an existing bundle there is replaced as a whole.

        If this process dies, the bundle is the old one or the new one. If it is missing for a moment, a reader waits or
        restores the old one.

        Raises:
            BundleInUseError: another process is writing the bundle there and does not finish in time.
            BundleError: `path` is in use by something that is not a bundle, or cannot be written.
        """
        from advcal_edge.changes import change, exclusive, replace, stage, workshop

        check_destination(path)
        whole = path.resolve()
        try:
            make_folder(whole.parent)
            with workshop(path, whole.parent, f"{whole.name}.new") as folder:
                new = folder / "new"
                new.mkdir()
                ready = stage(files, folder)
                change(new, {"schema": SCHEMA, **manifest, "files": {}}, ready, (), {})
                with exclusive(path):
                    check_destination(path)
                    replace(new, whole)
        except OSError as error:
            raise write_error(path, error) from error
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle and check every field of its manifest; files are checked when they are used.

        Nothing that the manifest names is loaded, and no code runs.

        Another process may be writing: the result is the bundle before or after that change, which may take a wait of
        milliseconds. If a writer was killed, the names that it was adding, replacing or removing are absent, and a
        bundle that it was replacing as a whole is restored.

        Raises:
            BundleError: no bundle there, a manifest that is a link, too large or unreadable, an unknown schema, a field
            of another type, a section that was edited, or a path that leads out of the bundle.
        """
        path = Path(path)
        source = path / MANIFEST
        before: object = None
        misses = 0
        while True:
            try:
                manifest = read_manifest(source)
            except BundleError as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
                from advcal_edge.changes import settle
                from advcal_edge.leftovers import returned

                if not path.exists() and returned(path):
                    continue
                if misses < MISSES:  # it may be half replaced: old and new change places in two steps
                    misses += 1
                    settle(path)
                    continue
                raise BundleError(
                    f"`{path}` is no bundle: `{MANIFEST}` is missing",
                    hint="make one: `advcal-edge calibrate --modality thermal`",
                ) from error
            changing = manifest.pop(CHANGING, None)
            if changing is None or changing == before:
                break
            from advcal_edge.changes import settle

            before = changing  # a writer is active or has died: nobody holds the lock and the manifest is unchanged
            settle(path)
        for name in manifest["files"]:
            inside(path, name)
        return cls(path, manifest)

    def file(self, name: str) -> Path:
        """Path of a listed file, after checking its hash.

        Raises:
            BundleChangedError: another command replaced or removed it since this bundle was opened.
            BundleError: not listed, missing, or changed since it was written.
        """

        def checked() -> Path:
            path = self._find(name)
            self._compare(name, sha256_file(path))
            return path

        return self._settled(name, checked)

    def read(self, name: str, limit: Limit) -> bytes:
        """Bytes of a listed file, after checking their hash; the bytes checked are the bytes returned.

        Raises:
            BundleChangedError: another command replaced or removed it since this bundle was opened.
            BundleError: not listed, missing, larger than `limit`, or changed since it was written.
        """

        def checked() -> bytes:
            data = read_bytes(self._find(name), limit, BundleError)
            self._compare(name, sha256_bytes(data))
            return data

        return self._settled(name, checked)

    def checked(self, name: str) -> CheckedFile:
        """A listed file, after checking its hash, to be read later: the bytes checked are the bytes read.

        Raises:
            BundleChangedError: another command replaced or removed it since this bundle was opened.
            BundleError: not listed, missing, or changed since it was written.
        """
        from advcal_edge.checked_file import CheckedFile

        def checked() -> CheckedFile:
            file = CheckedFile.of(self._find(name))
            self._compare(name, file.sha256)
            return file

        return self._settled(name, checked)

    def _find(self, name: str) -> Path:
        if not self.has(name):
            raise BundleError(f"bundle `{self.path}` has no `{name}`", hint=making(name, self.path))
        path = inside(self.path, name)
        if not path.is_file():
            raise BundleError(
                f"bundle `{self.path}` lacks `{name}`, which its manifest lists", hint=making(name, self.path)
            )
        size, listed = path.stat().st_size, self.manifest["files"][name].get("bytes")
        if listed not in (None, size):  # before hashing: it may have been replaced by an endless file
            raise BundleError(
                f"`{path}` was changed or truncated: it has {size} bytes, the manifest says {listed}",
                hint=making(name, self.path),
            )
        limits.LISTED_BYTES.check(size, f"`{path}`", BundleError)  # holes of a sparse file are free but slow to hash
        return path

    def _compare(self, name: str, found: str) -> None:
        listed = self.manifest["files"][name]["sha256"]
        if found != listed:
            raise BundleError(
                f"`{self.path / name}` was changed or truncated: sha256 is {found[:12]}, the manifest says"
                f" {listed[:12]}",
                hint=making(name, self.path),
            )

    def _settled(self, name: str, use: Callable[[], T]) -> T:
        """Use a file; on an error retry once nobody writes, and report separately if it was replaced."""
        try:
            return use()
        except (BundleError, OSError) as error:
            self._check_listed(name, error)
        try:
            return use()
        except (BundleError, OSError) as error:
            self._check_listed(name, error)  # it may have been replaced since the first attempt
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"cannot read `{self.path / name}`: {error.strerror or error}") from error

    def _check_listed(self, name: str, cause: Exception) -> None:
        """Raise if the manifest on disk, once nobody writes it, has another entry for a file."""
        known = self.manifest["files"].get(name)
        if known is not None and Bundle.open(self.path).manifest["files"].get(name) != known:
            raise BundleChangedError(
                f"another command replaced or removed `{name}` in `{self.path}` while this one worked on it",
                hint="run the command again",
            ) from cause

    def identity(self) -> str:
        """Hash of the manifest without reports and plans: what was calibrated and exported.

        It does not depend on reports, or on the devices that plans were built for.
        """
        return self._digest(("reports/", "engines/"), self.manifest)

    def origin(self) -> str:
        """Hash of the manifest without graphs, plans and reports: the calibration, exported or not."""
        sections = {name: section for name, section in self.manifest.items() if name != "graphs"}
        return self._digest(("reports/", "engines/", "onnx/"), sections)

    def _digest(self, left_out: tuple[str, ...], sections: Mapping[str, Any]) -> str:
        kept = {name: entry for name, entry in self.manifest["files"].items() if not name.startswith(left_out)}
        own = {name: section for name, section in sections.items() if name != SECTIONS}  # hashes of the others
        return sha256_bytes(canonical({**own, "files": kept}))

    def has(self, name: str) -> bool:
        """Does the manifest list `name`?"""
        return name in self.manifest["files"]

    def add(self, files: Mapping[str, bytes | Path], **sections: Any) -> Bundle:
        """Add or replace files (bytes, or staged paths that are moved) and top-level manifest sections.

        A section may be a function of its current content. Changes by other processes are kept. A reader sees all of
        this or none of it; if this process dies, the bundle is as before, or as after, or lacks the names that were to
        be replaced.

        Raises:
            BundleChangedError: the bundle was calibrated again since this one was opened.
            BundleInUseError: another process is writing it and does not finish in time.
            BundleError: a name leads out of the bundle, or the write fails; the bundle is as before or lacks the names.
        """
        for name in files:
            inside(self.path, name)
        if not files:
            return self._change({}, (), sections)
        from advcal_edge.changes import stage

        with self.staging() as folder:
            return self._change(stage(files, folder), (), sections)

    def remove(self, names: Collection[str], **sections: Any) -> Bundle:
        """Remove listed files from the manifest and the disk, and replace top-level sections, as `add` does.

        Names that the manifest does not list are ignored.

        Raises:
            BundleChangedError: the bundle was calibrated again since this one was opened.
            BundleInUseError: another process is writing it and does not finish in time.
            BundleError: the disk cannot be written.
        """
        return self._change({}, names, sections)

    def _change(self, ready: Mapping[str, Staged], gone: Collection[str], sections: Mapping[str, Any]) -> Bundle:
        """Under the lock: read the current manifest, then change it and the files."""
        from advcal_edge.changes import change, exclusive, foundation

        with exclusive(self.path):
            current = Bundle.open(self.path).manifest
            now = foundation(current)
            if any(now.get(name) != sha256 for name, sha256 in foundation(self.manifest).items()):
                raise BundleChangedError(
                    f"another command calibrated `{self.path}` anew while this one worked on it: what it made is of the"
                    " bundle before",
                    hint="run the command again",
                )
            known = {name for name in gone if name in current["files"]}
            values = {key: value(current.get(key)) if callable(value) else value for key, value in sections.items()}
            change(self.path, current, ready, known, values)
        return Bundle.open(self.path)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder inside the bundle for unfinished files; always removed afterwards.

        Raises:
            BundleChangedError: another command replaced the bundle meanwhile, and the folder with it.
            BundleError: the disk cannot be written.
        """
        from advcal_edge.changes import workshop

        try:
            with workshop(self.path, self.path, "staging") as folder:
                try:
                    yield folder
                except Exception as error:
                    if folder.exists() or isinstance(error, BundleChangedError):
                        raise
                    raise BundleChangedError(
                        f"another command replaced `{self.path}` while this one worked on it",
                        hint="run the command again",
                    ) from error
        except OSError as error:
            raise write_error(self.path, error) from error

    def section(self, name: str) -> Mapping[str, Any]:
        """A top-level object of the manifest.

        Raises:
            BundleError: missing or not an object.
        """
        section = self.manifest.get(name)
        if not isinstance(section, dict):
            raise BundleError(f"`{self.path / MANIFEST}` has no section `{name}`")
        return section

    @property
    def comparison(self) -> Mapping[str, Any] | None:
        """In a folder that was made to compare two models, the reference and its outputs; None if it was calibrated."""
        found: Mapping[str, Any] | None = self.manifest.get("comparison")
        return found

    def require_calibration(self, verb: str) -> None:
        """Refuse a folder that was made to compare two models.

        Raises:
            BundleError: nothing in it was calibrated, so there is nothing to `verb`.
        """
        if self.comparison is not None:
            raise BundleError(
                f"`{self.path}` was made to compare models with `{self.comparison['reference']}`: nothing in it was"
                f" calibrated, so there is nothing to {verb}",
                hint=f"compare another one: `{command('verify', self.path, '--engine', 'FILE')}`",
            )

    @property
    def modality(self) -> Modality:
        """The sensor this bundle is for."""
        return Modality.from_json(self.section("modality"))

    @property
    def threat(self) -> ThreatModel:
        """The threat model it was calibrated against."""
        return ThreatModel.from_json(self.section("threat"))

    def centers(self) -> Centers:
        """The frozen centers; their hash is checked.

        Raises:
            BundleError: the file was changed, or its labels differ from those of the manifest.
        """
        centers = Centers.load(self.file("centers.safetensors"))
        stated = self.manifest.get("centers", {}).get("labels")
        if stated is not None and stated != list(centers.labels):
            raise BundleError(
                f"`{self.path / MANIFEST}` and `centers.safetensors` name different labels",
                hint="calibrate again, or copy the bundle again",
            )
        return centers

    def probe(self, n: int | None = None) -> Probe:
        """The held-out samples that `verify` attacks: the first `n`, or all; their hash is checked."""
        return self.samples("probe.npz").head(n)

    def calibration(self) -> Probe:
        """Training samples for the quantiser, disjoint from the probe; their hash is checked."""
        return self.samples("calibration.npz").head()

    def samples(self, name: str) -> ProbeFile:
        """A file of samples, to be read block by block; hash and labels are checked.

        What is read later is compared with what was hashed: the file may be changed or replaced meanwhile.

        Raises:
            BundleError: the file was changed, or has labels without a center.
        """
        from advcal_edge.probe import ProbeFile

        file = self.checked(name)
        samples = ProbeFile.open(file, self.modality.input)
        classes = len(self.centers().labels)
        if len(samples.y) and not (samples.y.min() >= 0 and samples.y.max() < classes):
            raise BundleError(f"`{file.path}` has labels {samples.y.min()} to {samples.y.max()} for {classes} centers")
        return samples


def read_manifest(source: Path) -> dict[str, Any]:
    """Read a manifest, check every field, and compare its sections with their hashes.

    Raises:
        BundleError: a link, too large, unreadable, of an unknown schema, with a field of another type, or with a
            section that was edited.
    """
    data = read_bytes(source, limits.MANIFEST_BYTES, BundleError, follow=False)
    manifest = parse_json(data, f"`{source}`", BundleError, hint="calibrate again, or copy the bundle again")
    if not isinstance(manifest, dict):
        raise BundleError(f"`{source}` holds a {type(manifest).__name__}; expected an object")
    if manifest.get("schema") != SCHEMA:
        raise BundleError(
            f"`{source}` has schema `{manifest.get('schema')}`; this version reads `{SCHEMA}`",
            hint="install the version of advcal-edge that wrote it, or calibrate again",
        )
    check_manifest(manifest, f"`{source}`")
    check_seals(manifest, f"`{source}`")
    return manifest


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
    """Is this a bundle of any version, without files other than those listed or left by a writer?"""
    from advcal_edge.leftovers import foreign

    try:
        manifest = read_object(path / MANIFEST, limits.MANIFEST_BYTES, BundleError)
        listed = set(manifest["files"])
        ours = str(manifest["schema"]).startswith("advcal-edge/bundle/")
    except (BundleError, KeyError, TypeError):
        return False
    return ours and not foreign(path, listed)


def making(name: str, path: Path) -> str:
    """The command that creates `name`."""
    if name.startswith("onnx/"):
        return f"export again: `{command('export', path)}`"
    if name.startswith("engines/"):
        return f"build again: `{command('export', path, '--trt')}`"
    if name.startswith("reports/"):
        return f"verify again: `{command('verify', path)}`"
    return "calibrate again, or copy the bundle again"
