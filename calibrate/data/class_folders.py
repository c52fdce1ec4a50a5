"""The files of a folder with one folder per class; those in folders below, like sessions, belong to the class too."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from advcal_edge import limits
from advcal_edge.errors import InputError

SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found")
"""What file managers and file systems leave behind, in lower case; so are names that begin with a dot."""

PARTS = ("train", "training", "val", "valid", "validation", "eval", "test", "testing", "dev", "all")
"""Folders of parts of a data set, which are no classes, in lower case."""

DEEPEST = 32
NAMED = 5
"""Names that are listed of what was left out."""


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """Files by class, sorted; files beside the folders; and how often each name was left out."""

    path: Path
    files: Mapping[str, Sequence[Path]]
    beside: Sequence[Path]
    left_out: Mapping[str, int]

    def check_parts(self, known: Sequence[str] | None) -> None:
        """Refuse parts of a data set in place of classes.

        Raises:
            InputError: all folders are named like parts.
        """
        parts = [name for name in self.files if name.lower() in PARTS]
        if parts and len(parts) == len(self.files) and not set(parts) <= set(known or ()):
            inner = shlex.quote(str(self.path / parts[0]))
            raise InputError(
                f"`{self.path}` holds {', '.join(f'`{name}`' for name in parts)}, which are parts of a data set;"
                " expected one folder a class",
                hint=f"`--data {inner}` if the classes are in there; what is held out is drawn from it",
            )

    def check_beside(self) -> None:
        """Refuse files of no class that have a suffix of those in the classes.

        Raises:
            InputError: there are some.
        """
        kinds = {file.suffix.lower() for files in self.files.values() for file in files}
        lost = [file for file in self.beside if file.suffix.lower() in kinds]
        if lost:
            raise InputError(
                f"{len(lost)} of the files of `{self.path}` lie beside the folders of the classes, like"
                f" `{lost[0].name}`; expected each in the folder of its class",
                hint="move them into a folder, or list the frames in a csv file with the columns path and label",
            )


def list_class_folders(path: Path) -> ClassFolders:
    """All files below the folders in `path`, by the name of the first folder.

    Raises:
        InputError: too many files, folders too deep or in a circle, or one that cannot be read.
    """
    left_out: Counter[str] = Counter()
    try:
        here = _kept(path, left_out)
        files = {entry.name: sorted(_walk(Path(entry.path), left_out)) for entry in here if entry.is_dir()}
        listed = sum(map(len, files.values()))
        limits.LISTED_FILES.check(listed, f"`{path}`", InputError)
        beside = sorted(Path(entry.path) for entry in here if not entry.is_dir())
    except OSError as error:
        raise InputError(
            f"cannot read `{error.filename or path}`: {error.strerror or error}",
            hint=f"`ls -ld {shlex.quote(str(error.filename or path))}` shows who may",
        ) from error
    found = ClassFolders(path, files, beside, left_out)
    kinds = {file.suffix.lower() for each in files.values() for file in each}
    left_out.update(file.name for file in beside if file.suffix.lower() not in kinds)
    return found


def short_list(left_out: Mapping[str, int]) -> dict[str, int]:
    """The names left out most often, printable, and the number of others under `others`."""
    most = Counter(left_out).most_common()
    listed = {ascii(name)[1:-1][:60]: count for name, count in most[:NAMED]}
    others = sum(count for _, count in most[NAMED:])
    return {**listed, "others": others} if others else listed


def _kept(folder: Path, left_out: Counter[str]) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without what a system left there, which is counted."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    kept = []
    for entry in found:
        if entry.name.startswith(".") or entry.name.lower() in SYSTEM:
            left_out[entry.name] += 1
        else:
            kept.append(entry)
    return kept


def _walk(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """All files below a folder; links to folders are followed."""
    listed = 0
    waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(folder, ())]
    while waiting:
        inner, above = waiting.pop()
        status = inner.stat()
        own = (status.st_dev, status.st_ino)
        if own in above or len(above) >= DEEPEST:
            why = "leads back to a folder above it" if own in above else f"is more than {DEEPEST} folders deep"
            raise InputError(f"`{inner}` {why}; expected frames", hint=f"remove it: `unlink {shlex.quote(str(inner))}`")
        for entry in _kept(inner, left_out):
            listed += 1
            limits.LISTED_FILES.check(listed, f"`{folder}`", InputError)
            if entry.is_dir():
                waiting.append((Path(entry.path), (*above, own)))
            else:
                yield Path(entry.path)
