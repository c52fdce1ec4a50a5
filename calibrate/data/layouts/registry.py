"""Layouts by name: how the files of each public data set are arranged when it is unpacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from advcal_edge.calibrate.data.layouts.listing import Listing
from advcal_edge.calibrate.data.layouts.root import Root
from advcal_edge.errors import InputError
from advcal_edge.registry import choose

Reader = Callable[[Root], Listing]
SHOWS = "docs/calibrate.md#public-data-sets shows what each layout holds"


@dataclass(frozen=True, slots=True)
class Form:
    """One arrangement in which a set is published: what must be there, as names below the folder, and its reader."""

    needs: tuple[str, ...]
    read: Reader

    def missing(self, root: Root) -> list[str]:
        """What is not there."""
        return [need for need in self.needs if not root.has(need)]


@dataclass(frozen=True, slots=True)
class Layout:
    """A public data set, the sensor of its frames, and the arrangements in which it is published."""

    name: str
    modality: str
    title: str
    pairs: str | None
    """The sensor of what shows the same moments."""
    folds: int
    """Number of published folds or splits, of which one is chosen; 0 if there is one split or none."""
    fold: int
    """The fold that is held out unless told otherwise."""
    forms: list[Form] = field(default_factory=list)

    def form(self, *needs: str) -> Callable[[Reader], Reader]:
        """Register a function as the reader of one arrangement; `*` stands for any name."""

        def register(read: Reader) -> Reader:
            self.forms.append(Form(needs, read))
            return read

        return register

    def suits(self, path: Path) -> bool:
        """Is a folder arranged like this?"""
        return any(not form.missing(Root(path)) for form in self.forms)

    def read(self, path: Path, fold: int | None = None) -> Listing:
        """The files of the set in a folder.

        Raises:
            InputError: the folder holds something else, or a list in it is broken or leads out of the folder.
        """
        root = Root(path, self.fold if fold is None else fold)
        for form in self.forms:
            if not form.missing(root):
                return form.read(root)
        raise self._misfit(root)

    def _misfit(self, root: Root) -> InputError:
        path = root.path
        if not path.is_dir():
            return InputError(
                f"`--data {path}` is no folder; expected the folder of {self.title}", hint="`--data DIR` names it"
            )
        nearest = min(self.forms, key=lambda form: len(form.missing(root)) / len(form.needs))
        missing = nearest.missing(root)
        forms = ", or ".join(" and ".join(f"`{need}`" for need in form.needs) for form in self.forms)
        lacks = f"; `{missing[0]}` is missing" if len(missing) < len(nearest.needs) else ""
        found = f"`{path}` holds {root.contents()}; expected {self.title}: {forms}{lacks}"
        inside = next((name for name in root.folders()[:SEARCHED] if self.suits(path / name)), None)
        other = next((layout for layout in LAYOUTS.values() if layout.suits(path)), None)
        if inside is not None:
            return InputError(found, hint=f"give the folder inside: `--data {path / inside}`")
        if other is not None:
            return InputError(found, hint=f"this looks like {other.title}: `--layout {other.name}`")
        return InputError(found, hint=SHOWS)


SEARCHED = 32
"""Folders inside a folder that are looked at to say that one of them is the right one."""

LAYOUTS: dict[str, Layout] = {}
"""By name; filled by `layout`."""


def layout(
    name: str, *, modality: str, title: str, pairs: str | None = None, folds: int = 0, fold: int | None = None
) -> Layout:
    """Register a data set; its method `form` registers the reader of each arrangement. The last fold is held out."""
    LAYOUTS[name] = Layout(name, modality, title, pairs, folds, folds if fold is None else fold)
    return LAYOUTS[name]


def find_layout(name: str) -> Layout:
    """The layout `name`.

    Raises:
        ConfigError: there is none.
    """
    return choose("layout", name, LAYOUTS)


def suited(path: Path, modality: str) -> Layout | None:
    """The layout of a folder for this sensor, if it has one."""
    return next((each for each in LAYOUTS.values() if each.modality == modality and each.suits(path)), None)
