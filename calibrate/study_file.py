"""The file of a study: cases and a grid of settings, whose combinations are its cells.

out = "bundles/study"           # a bundle per cell; relative to the working folder
results = "studies/mine"        # tables: mine.md, mine.csv, mine.json, mine.html
speed = 40                      # TFLOP/s that one device sustains, for the estimate

[settings.evaluate]             # of every cell
samples = 500

[[case]]                        # settings that belong together
name = "street"
modality = "thermal"
data.path = "data/llvip"

[[case]]
name = "sounds"
modality = "audio"
data.path = "data/esc50"

[grid]                          # every combination, in every case, is a cell
preset = ["paper", "fast"]
"threat.eps" = ["2/255", "default"]
seed = [0, 1, 2]

[[skip]]                        # except these
preset = "paper"
seed = [1, 2]
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advcal_edge import documents, limits
from advcal_edge.config import Layer, parse_settings
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose, unknown
from advcal_edge.report.study import CASE, DEFAULT

KEYS = ("out", "results", "speed", "settings", "case", "grid", "skip")
SPEED = 40.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+=-]{0,63}", re.ASCII)
"""Names of cases, which become parts of folders: no dots, so no hidden folder, no way up and no ending of our own."""


@dataclass(frozen=True, slots=True)
class Case:
    """Settings that belong together, nested."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StudyFile:
    """What a file says, checked but for the settings themselves; all values of grid and skips are texts."""

    path: Path
    out: Path
    results: Path
    speed: float
    """TFLOP/s."""
    settings: Mapping[str, Any]
    cases: Sequence[Case]
    """Empty if the file has none: then the grid alone makes the cells."""
    grid: Mapping[str, Sequence[str]]
    skipped: Sequence[Mapping[str, Sequence[str]]]

    @classmethod
    def read(cls, path: Path) -> StudyFile:
        """Read and check it.

        Raises:
            ConfigError: unreadable, unknown keys, an empty grid without cases, a case without a name that can be part
                of a folder's, or cells without end.
        """
        document = documents.read_toml(path, ConfigError)
        for key in document:
            if key not in KEYS:
                raise unknown("key of a study", key, KEYS)
        cases = _cases(path, document.get("case", []))
        grid = _grid(path, document.get("grid", {}), optional=bool(cases))
        _check_once(path, cases, grid)
        cells = max(len(cases), 1) * math.prod(map(len, grid.values()))
        limits.STUDY_CELLS.check(cells, f"the grid of `{path}`", ConfigError)
        out, results = (str(document.get(key, "")) for key in ("out", "results"))
        if not (out and results):
            raise ConfigError(f"`{path}` has no `{'results' if out else 'out'}`; expected a path")
        return cls(
            path,
            Path(out),
            Path(results),
            _speed(path, document.get("speed", SPEED)),
            _settings(path, "settings", document.get("settings", {})),
            cases,
            grid,
            _skipped(path, document.get("skip", []), cases, grid),
        )

    def combinations(self) -> Iterator[tuple[dict[str, str], list[Layer]]]:
        """Of each cell the values that tell it from others, and its settings, lowest first."""
        for case in self.cases or (Case("", {}),):
            named = {CASE: case.name} if case.name else {}
            for combination in itertools.product(*self.grid.values()):
                own = dict(zip(self.grid, combination, strict=True))
                values = {**named, **own}
                if any(all(values[key] in among for key, among in rule.items()) for rule in self.skipped):
                    continue
                given = parse_settings([f"{key}={value}" for key, value in own.items() if value != DEFAULT])
                layers = [Layer(f"`{self.path}`", self.settings), Layer(f"case `{case.name}`", case.settings)]
                yield values, [*layers, Layer("grid", given.values)]


def folder_name(values: Mapping[str, str]) -> str:
    """A name for the bundle of a cell, from its values; never one that leads elsewhere or is hidden."""
    name = "-".join(re.sub(r"[^A-Za-z0-9.=+]+", "_", value) if key != CASE else value for key, value in values.items())
    return re.sub(r"^\.+", "_", name)


def _cases(path: Path, found: object) -> list[Case]:
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ConfigError(f"`{path}`: expected tables `[[case]]`, with two brackets")
    cases: dict[str, Case] = {}
    for number, item in enumerate(found, 1):
        name = item.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConfigError(
                f"`{path}`: the `name` of case {number} is {name!r:.60}; expected up to 64 of A-Z, a-z, 0-9, `_`, `-`,"
                " `+` and `=`, the first a letter or a digit",
                hint="it becomes part of the names of folders",
            )
        if name in cases:
            raise ConfigError(f"`{path}`: two cases have the name `{name}`; expected another for each")
        settings = {key: value for key, value in item.items() if key != "name"}
        cases[name] = Case(name, _settings(path, f"case `{name}`", settings))
    return list(cases.values())


def _settings(path: Path, where: str, found: object) -> dict[str, Any]:
    """Settings with every dot of a key as a level."""
    if not isinstance(found, dict):
        raise ConfigError(f"`{path}`: expected a table `{where}`")
    settings: dict[str, Any] = {}
    for key, value in leaves(found):
        *sections, last = key.split(".")
        inner = settings
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"`{path}`, {where}: `{section}` of `{key}` has a value of its own")
        if last in inner:
            raise ConfigError(f"`{path}`, {where}: `{key}` is there twice")
        inner[last] = value
    if "out" in settings:
        raise ConfigError(f"`{path}`, {where}: a cell has no `out` of its own; expected it at the top of the file")
    return settings


def leaves(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested settings."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _grid(path: Path, found: object, *, optional: bool) -> dict[str, list[str]]:
    """Values of each key, as text."""
    if not isinstance(found, dict) or not (found or optional):
        raise ConfigError(
            f"`{path}` has no table `grid` and no `[[case]]`; expected keys with lists of values in `grid`",
            hint="like `seed = [0, 1]`",
        )
    if CASE in found:
        raise ConfigError(f"`{path}`: `grid.{CASE}` is no setting; expected cases as tables `[[case]]`")
    grid: dict[str, list[str]] = {}
    for key, values in found.items():
        if not isinstance(values, list) or not values or any(isinstance(value, (dict, list)) for value in values):
            raise ConfigError(f"`{path}`: `grid.{key}` is {str(values)[:60]}; expected a list of values")
        grid[key] = [_text(value) for value in values]
    return grid


def _check_once(path: Path, cases: Sequence[Case], grid: Mapping[str, Sequence[str]]) -> None:
    """Refuse a key that both a case and the grid set, of which one would be lost."""
    for case in cases:
        for key, _ in leaves(case.settings):
            if key in grid:
                raise ConfigError(
                    f"`{path}`: case `{case.name}` sets `{key}`, and so does `grid`; expected one of the two"
                )


def _speed(path: Path, found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 < found < math.inf:
        raise ConfigError(f"`{path}`: `speed` is {found!r:.40}; expected TFLOP/s, a number above zero")
    return float(found)


def _skipped(
    path: Path, found: object, cases: Sequence[Case], grid: Mapping[str, Sequence[str]]
) -> list[dict[str, list[str]]]:
    """Rules, each with the values of its keys that it leaves out."""
    if not isinstance(found, list) or not all(isinstance(rule, dict) and rule for rule in found):
        raise ConfigError(f"`{path}`: expected tables `[[skip]]` with keys of the `grid`")
    rules: list[dict[str, list[str]]] = []
    for rule in found:
        for key in rule:
            if key not in grid and not (cases and key == CASE):
                raise ConfigError(f"`{path}`: `skip` names `{key}`, which is no key of its `grid`")
        texts = {
            key: [_text(item) for item in (value if isinstance(value, list) else [value])]
            for key, value in rule.items()
        }
        for name in texts.get(CASE, []):
            choose(f"case in a `skip` of `{path}`", name, {case.name: case for case in cases})
        rules.append(texts)
    return rules


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
