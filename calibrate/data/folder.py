"""Labelled frames from disk: one folder per class, or a manifest.csv with the columns path and label."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advcal_edge import limits
from advcal_edge.calibrate.data.classes import check_classes
from advcal_edge.calibrate.data.layouts import suited
from advcal_edge.calibrate.data.readable import frame_digests, unreadable
from advcal_edge.calibrate.data.samples import FrameFiles, Samples
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import Frame, read_frame
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


def load_folder(
    path: Path,
    modality: Modality,
    known: Sequence[str] | None,
    pairs: Modality | None = None,
    *,
    skip_bad: bool,
) -> Loaded:
    """Read a folder of class folders, or the frames in a csv file; classes keep the order of `known`.

    Every file is read once to check that it is a frame of this modality, then stays on disk until it is needed.
    `pairs` is the sensor of the files in the csv's column `pair`.

    Raises:
        InputError: no samples, a class without center or without samples, a single class, a frame without its pair,
            or, unless `skip_bad`, files that are not frames of this modality.
    """
    entries = _from_manifest(path, pairs) if path.suffix.lower() == ".csv" else _from_folders(path, pairs)
    names = _classes(entries, known, path, modality)

    def read(entry: Entry) -> Frame:
        frame = read_frame(entry.path, modality)
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
    return Loaded(samples, tuple(digests), len(bad))


def _classes(
    entries: dict[str, list[Entry]], known: Sequence[str] | None, path: Path, modality: Modality
) -> tuple[str, ...]:
    """`check_classes`; if the folder is a public data set as it was published, the hint says how to read it."""
    try:
        return check_classes({label: len(files) for label, files in entries.items()}, known, path)
    except InputError as error:
        layout = suited(path, modality.name)
        if layout is None:
            raise
        raise InputError(error.message, hint=f"this looks like {layout.title}: `--layout {layout.name}`") from error


def _from_folders(path: Path, pairs: Modality | None) -> dict[str, list[Entry]]:
    try:
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
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        entries: dict[str, list[Entry]] = {}
        listed = 0
        for folder in folders:
            entries[folder.name] = []
            for file in folder.iterdir():
                if file.name.startswith(".") or file.is_dir():
                    continue
                listed += 1
                limits.LISTED_FILES.check(listed, f"`{path}`", InputError)
                entries[folder.name].append(Entry(file, folder.name))
            entries[folder.name].sort(key=lambda entry: entry.path)
        return entries
    except OSError as error:
        raise InputError(
            f"cannot read `{error.filename or path}`: {error.strerror or error}",
            hint=f"`ls -ld {shlex.quote(str(error.filename or path))}` shows who may",
        ) from error


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
