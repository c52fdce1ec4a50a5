"""Labelled frames from disk: one folder a class, or a manifest.csv with the columns path and label."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advcal_edge.calibrate.data.samples import FrameFiles, Samples
from advcal_edge.calibrate.data.split import frame_sha256
from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess import read_frame
from advcal_edge.spec import Modality

LISTED = 10  # unreadable files that an error names


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, its class, and the file of another sensor that shows the same moment."""

    path: Path
    label: str
    pair: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What can be read, a hash of each frame, and how many files cannot and were skipped."""

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
    """Read a folder of class folders, or the frames a csv file names; classes keep the order of `known`.

    Every file is read once to see whether it is a frame of this modality, then left on disk until it is needed.
    `pairs` is the sensor of the files in the csv's column `pair`.

    Raises:
        InputError: nothing there, a class without center or without samples, a single class, a frame without its
            pair, or, unless `skip_bad`, files that are no frames of this modality.
    """
    entries = _from_manifest(path, pairs) if path.suffix.lower() == ".csv" else _from_folders(path, pairs)
    names = _check_classes(entries, known, path)
    good: list[Entry] = []
    digests: list[str] = []
    bad: list[str] = []
    for entry in (entry for label in names for entry in entries[label]):
        try:
            digest = frame_sha256(read_frame(entry.path, modality))
            if pairs is not None and entry.pair is not None:
                read_frame(entry.pair, pairs)
        except InputError as error:
            bad.append(error.message)
            continue
        good.append(entry)
        digests.append(digest)
    if bad and not skip_bad:
        shown = "".join(f"\n  {message}" for message in bad[:LISTED])
        rest = f"\n  and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
        raise InputError(
            f"{len(bad)} of {len(bad) + len(good)} files of `{path}` cannot be used:{shown}{rest}",
            hint="mend or remove them, or leave them out with `--skip-bad`",
        )
    labels = np.array([names.index(entry.label) for entry in good], dtype=np.int64)
    emptied = [name for index, name in enumerate(names) if index not in labels]
    if emptied:
        raise InputError(f"no readable sample is left of the class `{emptied[0]}` in `{path}`")
    frames = FrameFiles(tuple(entry.path for entry in good), modality)
    partners = None if pairs is None else FrameFiles(tuple(entry.pair for entry in good if entry.pair), pairs)
    partner = None if pairs is None else pairs.name
    samples = Samples(frames, labels, names, str(path), "NOASSERTION", partners, partner)
    return Loaded(samples, tuple(digests), len(bad))


def _from_folders(path: Path, pairs: Modality | None) -> dict[str, list[Entry]]:
    if not path.is_dir():
        raise InputError(f"`--data {path}` is no folder and no csv file; expected a folder with one folder a class")
    if pairs is not None:
        raise InputError(
            f"`--data {path}` is a folder, which cannot say what is paired; expected a csv file",
            hint="a csv file with the columns path, label and pair",
        )
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {
        folder.name: [
            Entry(file, folder.name)
            for file in sorted(folder.iterdir())
            if file.is_file() and not file.name.startswith(".")
        ]
        for folder in folders
    }


def _from_manifest(path: Path, pairs: Modality | None) -> dict[str, list[Entry]]:
    entries: dict[str, list[Entry]] = {}
    wanted = ("path", "label") if pairs is None else ("path", "label", "pair")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not set(wanted) <= set(reader.fieldnames or ()):
                raise InputError(
                    f"`{path}` has the columns {reader.fieldnames};"
                    f" expected {', '.join(f'`{name}`' for name in wanted)}"
                )
            for row in reader:
                where = f"`{path}`, line {reader.line_num}"
                if not all(row[name] for name in wanted):
                    raise InputError(f"{where}: expected a value for {', '.join(wanted)}")
                pair = None if pairs is None else _within(path, row["pair"], where)
                entry = Entry(_within(path, row["path"], where), row["label"], pair)
                entries.setdefault(row["label"], []).append(entry)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InputError(f"cannot read `{path}`: {error}") from error
    return entries


def _within(path: Path, name: str, where: str) -> Path:
    """The file a csv names, below the csv's own folder."""
    root = path.resolve().parent
    target = (root / name).resolve()
    if not target.is_relative_to(root):
        raise InputError(f"{where}: `{name}` leaves the folder of the file")
    return target


def _check_classes(entries: dict[str, list[Entry]], known: Sequence[str] | None, path: Path) -> tuple[str, ...]:
    """The classes present, in the order of `known`, or sorted where no centers say which there are."""
    known = sorted(entries) if known is None else known
    strange = [label for label in entries if label not in known]
    if strange:
        raise InputError(
            f"`{path}` has the class `{strange[0]}`, for which the encoder has no center;"
            f" expected: {', '.join(f'`{label}`' for label in known)}",
            hint="rename or remove the folder",
        )
    empty = [label for label, files in entries.items() if not files]
    if empty:
        raise InputError(f"the class `{empty[0]}` of `{path}` is empty; expected at least two frames")
    if len(entries) < 2:
        raise InputError(f"`{path}` holds {len(entries)} class; expected at least two, with one folder a class")
    return tuple(label for label in known if label in entries)
