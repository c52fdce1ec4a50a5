"""The folder of a public data set: its lists are read within limits, and no name in them leads out of it."""

from __future__ import annotations

import csv
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from advcal_edge import limits
from advcal_edge.calibrate.data.layouts.listing import Side
from advcal_edge.documents import parse_json
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.text_table import read_lines, whole_number
from advcal_edge.storage import open_regular, read_bytes

Place = tuple[str, int]
"""A file of the set, and the number of an entry in it, counted from 1 without blank lines."""

AGAIN = "unpack the set again, or fetch this file again"
SHOWN = 8  # entries of a folder shown in an error


@dataclass(frozen=True, slots=True)
class Root:
    """The folder, and the number of the fold that is held out, for sets that are published in folds."""

    path: Path
    fold: int = 0

    def has(self, pattern: str) -> bool:
        """Is there a file or folder of this name? `*` stands for any part of a name that does not start with a dot."""
        return _matches(self.path, pattern.split("/"))

    def first(self, *names: str) -> str:
        """The first of these folders that is there; the first of all if none is, so that errors name it."""
        return next((name for name in names if self.has(name)), names[0])

    def files(self, folder: str, *suffixes: str) -> list[str]:
        """Names of the files in a folder that end in one of `suffixes`, whatever their case; sorted.

        Raises:
            InputError: the folder cannot be read, or holds too many.
        """
        found = [
            name
            for name, is_folder in self._entries(folder)
            if not is_folder and name[name.rfind(".") :].lower() in suffixes
        ]
        return sorted(found)

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders in a folder; sorted.

        Raises:
            InputError: the folder cannot be read, or holds too many.
        """
        return sorted(name for name, is_folder in self._entries(folder) if is_folder)

    def classes(self, folder: str, label: Callable[[str], str | None], *suffixes: str) -> Side:
        """The files of a folder with one folder a class, whose label `label` gives; None leaves a folder out.

        Raises:
            InputError: a folder cannot be read, or holds too many.
        """
        side, above = Side(), f"{folder}/" if folder else ""
        for name in self.folders(folder):
            text = label(name)
            if text is not None:
                side.add(text, [f"{above}{name}/{file}" for file in self.files(above + name, *suffixes)])
        return side

    def lines(self, name: str) -> Iterator[tuple[str, Place]]:
        """The lines of a text file that are not blank, each with its place.

        Raises:
            InputError: the file is missing, too large, or no text.
        """
        path = self.path / name
        with open_regular(path, InputError) as file:
            limits.LISTING_BYTES.check(os.fstat(file.fileno()).st_size, f"`{path}`", InputError)
            try:
                for number, line in enumerate(read_lines(file), 1):
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8"), (name, number)
            except ValueError as error:
                raise InputError(f"cannot read `{path}`: {error}", hint=AGAIN) from error

    def rows(self, name: str, *columns: str) -> Iterator[tuple[list[str], Place]]:
        """The values of these columns of a csv file, each row with its place.

        Raises:
            InputError: the file is missing, too large, or no csv, or has no such column.
        """
        path, last = self.path / name, [(name, 0)]

        def read() -> Iterator[str]:
            for line, place in self.lines(name):
                last[0] = place
                yield line

        try:
            reader = csv.reader(read())
            header = next(reader, [])
            missing = [column for column in columns if column not in header]
            if missing:
                shown = ", ".join(f"`{column[:40]}`" for column in header[:12]) or "none"
                raise InputError(
                    f"`{path}` has the columns {shown}; expected {', '.join(f'`{c}`' for c in columns)}", hint=AGAIN
                )
            places = [header.index(column) for column in columns]
            for row in reader:
                if len(row) != len(header) or not all(row[place].strip() for place in places):
                    raise InputError(f"{self.at(last[0])}: expected a value for {', '.join(columns)}", hint=AGAIN)
                yield [row[place] for place in places], last[0]
        except csv.Error as error:
            raise InputError(f"cannot read `{path}`: {error}", hint=AGAIN) from error

    def document(self, name: str) -> Any:
        """The content of a JSON file.

        Raises:
            InputError: the file is missing, too large, or no JSON.
        """
        path = self.path / name
        return parse_json(read_bytes(path, limits.LISTING_BYTES, InputError), f"`{path}`", InputError, hint=AGAIN)

    def at(self, place: Place) -> str:
        """A place in words, for errors."""
        return f"`{self.path / place[0]}`, entry {place[1]}"

    def below(self, name: str, place: Place) -> str:
        """A path that a list names, relative to the folder; links in it are followed, since a person set them.

        Raises:
            InputError: it is absolute, or leads out.
        """
        if not name or name[0] == "/" or "\0" in name or "\\" in name or (".." in name and ".." in name.split("/")):
            raise InputError(
                f"{self.at(place)}: {ascii(name)[:200]} leaves the folder of the set",
                hint=f"paths in this list are relative to a folder below `{self.path}`",
            )
        return name

    def number(self, word: str, least: int, most: int, place: Place) -> int:
        """A whole number from `least` to `most`.

        Raises:
            InputError: anything else.
        """
        try:
            number = whole_number(word)
        except ValueError:
            number = -1
        if not least <= number <= most:
            raise InputError(
                f"{self.at(place)}: found {ascii(word)[:40]}; expected a whole number from {least} to {most}",
                hint=AGAIN,
            )
        return number

    def contents(self) -> str:
        """What lies in the folder, for errors."""
        names = sorted(
            (not is_folder, f"`{name[:40]}{'/' if is_folder else ''}`") for name, is_folder in self._entries("")
        )
        shown = ", ".join(name for _, name in names[:SHOWN]) or "nothing"
        return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown

    def _entries(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Names in a folder that do not start with a dot, and whether each is a folder."""
        path = self.path / folder
        try:
            with os.scandir(path) as entries:
                most = limits.LISTED_FILES.value
                for count, entry in enumerate(entries, 1):
                    if count > most:
                        limits.LISTED_FILES.check(count, f"`{path}`", InputError)
                    if not entry.name.startswith("."):
                        yield entry.name, entry.is_dir()
        except (OSError, ValueError) as error:
            raise InputError(
                f"cannot read `{path}`: {getattr(error, 'strerror', None) or error}",
                hint=f"`ls -ld {shlex.quote(str(path))}` shows what is there and who may read it",
            ) from error


def _matches(folder: Path, parts: Sequence[str]) -> bool:
    """Does a path of these patterns exist below a folder?"""
    first, *rest = parts
    try:
        if "*" not in first:
            path = folder / first
            return _matches(path, rest) if rest else path.exists()
        with os.scandir(folder) as entries:
            return any(
                fnmatchcase(entry.name, first)
                and not entry.name.startswith(".")
                and (not rest or _matches(folder / entry.name, rest))
                for entry in entries
            )
    except OSError:
        return False
