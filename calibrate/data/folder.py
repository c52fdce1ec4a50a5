"""Labelled frames from disk: one folder a class, or a manifest.csv with the columns path and label."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.errors import InputError
from advcal_edge.runtime.preprocess import Frame, read_frame
from advcal_edge.spec import Modality

LISTED = 10  # unreadable files that an error names


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What could be read, and how many files could not and were skipped."""

    samples: Samples
    skipped: int


def load_folder(path: Path, modality: Modality, known: Sequence[str], *, skip_bad: bool) -> Loaded:
    """Read a folder of class folders, or the frames a csv file names; classes keep the order of `known`.

    Raises:
        InputError: nothing there, a class without center or without samples, a single class, or, unless `skip_bad`,
            files that are no frames of this modality.
    """
    entries = _from_manifest(path) if path.suffix.lower() == ".csv" else _from_folders(path)
    names = _check_classes(entries, known, path)
    frames: list[Frame] = []
    labels: list[int] = []
    bad: list[str] = []
    for label in names:
        for file in entries[label]:
            try:
                frames.append(read_frame(file, modality))
                labels.append(names.index(label))
            except InputError as error:
                bad.append(error.message)
    if bad and not skip_bad:
        shown = "".join(f"\n  {message}" for message in bad[:LISTED])
        rest = f"\n  and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
        raise InputError(
            f"{len(bad)} of {len(bad) + len(frames)} files of `{path}` cannot be used:{shown}{rest}",
            hint="mend or remove them, or leave them out with `--skip-bad`",
        )
    emptied = [name for index, name in enumerate(names) if index not in labels]
    if emptied:
        raise InputError(f"no readable sample is left of the class `{emptied[0]}` in `{path}`")
    array = np.array(labels, dtype=np.int64)
    return Loaded(Samples(tuple(frames), array, names, str(path), "NOASSERTION"), len(bad))


def _from_folders(path: Path) -> dict[str, list[Path]]:
    if not path.is_dir():
        raise InputError(f"`--data {path}` is no folder and no csv file; expected a folder with one folder a class")
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {
        folder.name: sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
        for folder in folders
    }


def _from_manifest(path: Path) -> dict[str, list[Path]]:
    entries: dict[str, list[Path]] = {}
    root = path.resolve().parent
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise InputError(f"`{path}` has the columns {reader.fieldnames}; expected `path` and `label`")
            for row in reader:
                if not row["path"] or not row["label"]:
                    raise InputError(f"`{path}`, line {reader.line_num}: a path and a label are expected")
                target = (root / row["path"]).resolve()
                if not target.is_relative_to(root):
                    raise InputError(f"`{path}`, line {reader.line_num}: `{row['path']}` leaves the folder of the file")
                entries.setdefault(row["label"], []).append(target)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InputError(f"cannot read `{path}`: {error}") from error
    return entries


def _check_classes(entries: dict[str, list[Path]], known: Sequence[str], path: Path) -> tuple[str, ...]:
    """The classes present, in the order of `known`."""
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
