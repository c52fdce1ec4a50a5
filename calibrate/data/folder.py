"""Labelled frames from disk: one folder per class, or a manifest.csv with the columns path and label."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advcal_edge import limits
from advcal_edge.calibrate.data.class_folders import ClassFolders, list_class_folders, short_list
from advcal_edge.calibrate.data.classes import check_classes
from advcal_edge.calibrate.data.layouts import suited
from advcal_edge.calibrate.data.readable import frame_digests, unreadable
from advcal_edge.calibrate.data.samples import FrameFiles, Samples
from advcal_edge.calibrate.data.storage_kinds import check_one_kind, kind_of
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import Frame, read_frame
from advcal_edge.runtime.sensors.sensor import choose_sensor
from advcal_edge.spec import Modality
from advcal_edge.storage import read_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, its class, and the file of another sensor that shows the same moment."""

    path: Path
    label: str
    pair: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """Readable entries, a hash of each frame, and the number of unreadable files that were skipped."""

    samples: Samples
    digests: tuple[str, ...]
    skipped: int
    left_out: Mapping[str, int]
    """How often each name was left out that is none of a frame, like `Thumbs.db`."""


def load_folder(
    path: Path,
    modality: Modality,
    known: Sequence[str] | None,
    pairs: Modality | None = None,
    *,
    skip_bad: bool,
) -> Loaded:
    """Read a folder of class folders, or the frames in a csv file; classes keep the order of `known`.

    Folders within that of a class belong to the class; what is hidden or of a file manager is left out and counted.

    Every file is read once to check that it is a frame of this modality, then stays on disk until it is needed.
    `pairs` is the sensor of the files in the csv's column `pair`.

    Raises:
        InputError: no samples, a class without center or without samples, a single class, a frame without its pair,
            a frame in no class, files that store their values in different ways, or, unless `skip_bad`, files that are
            not frames of this modality.
    """
    folders: ClassFolders | None = None
    if path.suffix.lower() == ".csv":
        entries = _from_manifest(path, pairs)
    else:
        folders = _from_folders(path, pairs)
        entries = {label: [Entry(file, label) for file in files] for label, files in folders.files.items()}
    names = _classes(entries, folders, known, path, modality)
    sensor, kinds = choose_sensor(modality), dict[Path, str | None]()

    def read(entry: Entry) -> Frame:
        raw = sensor.read(entry.path, modality)
        kinds[entry.path] = kind_of(raw, modality)
        frame = sensor.check(raw, f"`{entry.path}`", modality)
        if pairs is not None and entry.pair is not None:
            read_frame(entry.pair, pairs)
        return frame

    every = [entry for label in names for entry in entries[label]]
    good: list[Entry] = []
    digests: list[str] = []
    bad: list[InputError] = []
    for entry, found in zip(every, frame_digests(every, read), strict=True):
        if isinstance(found, InputError):
            bad.append(found)
        else:
            good.append(entry)
            digests.append(found)
    if bad and not skip_bad:
        raise unreadable(bad, len(every), path)
    by_kind: dict[str, list[Path]] = {}
    for entry in good:
        if kind := kinds[entry.path]:
            by_kind.setdefault(kind, []).append(entry.path)
    check_one_kind(by_kind, modality, path)
    labels = np.array([names.index(entry.label) for entry in good], dtype=np.int64)
    emptied = [name for index, name in enumerate(names) if index not in labels]
    if emptied:
        raise InputError(
            f"no readable sample is left of the class `{emptied[0]}` in `{path}`",
            hint="without `--skip-bad` the files that cannot be read are listed",
        )
    frames = FrameFiles(tuple(entry.path for entry in good), modality)
    partners = None if pairs is None else FrameFiles(tuple(entry.pair for entry in good if entry.pair), pairs)
    partner = None if pairs is None else pairs.name
    samples = Samples(frames, labels, names, str(path), "NOASSERTION", partners, partner)
    return Loaded(samples, tuple(digests), len(bad), {} if folders is None else short_list(folders.left_out))


def _classes(
    entries: dict[str, list[Entry]],
    folders: ClassFolders | None,
    known: Sequence[str] | None,
    path: Path,
    modality: Modality,
) -> tuple[str, ...]:
    """`check_classes`; if the folder is a public data set as it was published, the hint says how to read it."""
    try:
        if folders is not None and known is None:
            folders.check_parts(known)
        names = check_classes({label: len(files) for label, files in entries.items()}, known, path)
    except InputError as error:
        layout = suited(path, modality.name)
        if layout is not None:
            hint = f"this looks like {layout.title}: `--layout {layout.name}`"
            raise InputError(error.message, hint=hint) from error
        if folders is not None:
            folders.check_parts(known)
        raise
    if folders is not None:
        folders.check_beside()
    return names


def _from_folders(path: Path, pairs: Modality | None) -> ClassFolders:
    if not path.is_dir():
        raise InputError(
            f"`--data {path}` is no folder and no csv file; expected a folder with one folder a class",
            hint="make it DIR/LABEL/FILE, or give a csv file with the columns path and label",
        )
    if pairs is not None:
        raise InputError(
            f"`--data {path}` is a folder, which cannot say what is paired; expected a csv file",
            hint="a csv file with the columns path, label and pair",
        )
    return list_class_folders(path)


def _from_manifest(path: Path, pairs: Modality | None) -> dict[str, list[Entry]]:
    entries: dict[str, list[Entry]] = {}
    wanted = ("path", "label") if pairs is None else ("path", "label", "pair")
    form = f"the first line is `{','.join(wanted)}`, and each other line has these values, in UTF-8"
    try:
        text = read_bytes(path, limits.LABELS_BYTES, InputError).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        names = reader.fieldnames or []
        if not set(wanted) <= set(names):
            columns = ", ".join(f"`{name[:40]}`" for name in names[:12]) or "none"
            raise InputError(
                f"`{path}` has the columns {columns}; expected {', '.join(f'`{name}`' for name in wanted)}", hint=form
            )
        for index, row in enumerate(reader, 1):
            limits.LISTED_FILES.check(index, f"`{path}`", InputError)
            where = f"`{path}`, line {reader.line_num}"
            if not all(row[name] for name in wanted):
                raise InputError(f"{where}: expected a value for {', '.join(wanted)}", hint=form)
            pair = None if pairs is None else _within(path, row["pair"], where)
            entry = Entry(_within(path, row["path"], where), row["label"], pair)
            entries.setdefault(row["label"], []).append(entry)
    except (OSError, RuntimeError, ValueError, csv.Error) as error:
        raise InputError(f"cannot read `{path}`: {error}", hint=form) from error
    except InputError as error:
        raise InputError(error.message, hint=error.hint or form) from error
    return entries


def _within(path: Path, name: str, where: str) -> Path:
    """A file named in a csv, below the csv's own folder."""
    root = path.resolve().parent
    target = (root / name).resolve()
    if not target.is_relative_to(root):
        raise InputError(
            f"{where}: `{name[:200]}` leaves the folder of the file",
            hint=f"paths are relative to `{root}`; copy the file to a place below it",
        )
    return target
