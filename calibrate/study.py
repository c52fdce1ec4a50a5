"""Many calibrations from one file: a grid of settings, every cell a bundle.

out = "bundles/study"           # a bundle per cell; relative to the working folder
results = "studies/mine"        # tables: mine.md, mine.csv, mine.json

[settings.evaluate]             # of every cell
samples = 500

[grid]                          # every combination is a cell
modality = ["image", "thermal"]
preset = ["paper", "fast"]
"threat.eps" = ["2/255", "4/255"]
seed = [0, 1, 2]

[[skip]]                        # except these
preset = "paper"
seed = [1, 2]
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from advcal_edge import documents, limits
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.presets import configure
from advcal_edge.config import Layer, parse_settings
from advcal_edge.errors import AdvcalError, ConfigError
from advcal_edge.progress import Progress, silent
from advcal_edge.registry import unknown

KEYS = ("out", "results", "settings", "grid", "skip")
REPEATED = "seed"
"""The key whose values repeat a calibration; tables have means and spreads over it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One calibration of a study: its place in the grid, and all of its settings."""

    values: Mapping[str, str]
    config: CalibrateConfig

    @property
    def path(self) -> Path:
        """Its bundle."""
        return Path(self.config.out)

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.values.items())

    def bundle(self) -> Bundle | None:
        """The finished bundle of these very settings; None if there is none yet.

        Raises:
            ConfigError: there is a bundle of other settings in its place.
            BundleError: the bundle is damaged.
        """
        if not (self.path / "manifest.json").is_file():
            return None
        bundle = Bundle.open(self.path)
        open_ended = {"threat": None, "device": None}  # the bundle has the radius in full; any device may calibrate
        settings = {**json.loads(json.dumps(asdict(self.config))), **open_ended}
        if {**bundle.section("config"), **open_ended} != settings:
            raise ConfigError(
                f"`{self.path}` was calibrated with other settings than the cell {self}",
                hint="give the study another `out`, or remove that bundle",
            )
        return bundle


@dataclass(frozen=True, slots=True)
class Study:
    """The cells of a file, and where its tables go."""

    results: Path
    cells: tuple[Cell, ...]

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read a file and check the settings of every cell.

        Raises:
            ConfigError: it cannot be read, has unknown keys, an empty grid, cells without end or of the same name, or
                settings that are wrong in some cell; the message names the cell.
        """
        document = documents.read_toml(path, ConfigError)
        for key in document:
            if key not in KEYS:
                raise unknown("key of a study", key, KEYS)
        grid = _grid(path, document.get("grid"))
        settings, skipped = document.get("settings", {}), document.get("skip", [])
        if not isinstance(settings, dict) or not isinstance(skipped, list):
            raise ConfigError(f"`{path}`: expected a table `settings` and tables `[[skip]]`")
        for rule in skipped:
            strange = sorted(set(rule) - set(grid)) if isinstance(rule, dict) else ["skip"]
            if strange:
                raise ConfigError(f"`{path}`: `skip` names `{strange[0]}`, which is no key of its `grid`")
        out, results = (str(document.get(key, "")) for key in ("out", "results"))
        if not (out and results):
            raise ConfigError(f"`{path}` has no `{'results' if out else 'out'}`; expected a path")
        cells: dict[str, Cell] = {}
        for values in _combinations(grid, skipped):
            name = "-".join(re.sub(r"[^A-Za-z0-9.=+]+", "_", value) for value in values.values())
            config = _configured(path, settings, values, str(Path(out) / name))
            if name in cells:
                raise ConfigError(
                    f"`{path}`: the cells {cells[name]} and {Cell(values, config)} share the name `{name}`"
                )
            cells[name] = Cell(values, config)
        if not cells:
            raise ConfigError(f"`{path}`: every cell is skipped")
        return cls(Path(results), tuple(cells.values()))

    def share(self, index: int, count: int) -> tuple[Cell, ...]:
        """Every `count`-th cell from `index` on, which starts at 0: the part of one of several processes."""
        return self.cells[index::count]


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that could not be calibrated, and why."""

    cell: Cell
    error: AdvcalError


def run_cells(
    cells: tuple[Cell, ...],
    progress: Progress = silent,
    *,
    starts: Callable[[int, Cell], None] = lambda index, cell: None,
) -> list[Failure]:
    """Calibrate the cells that have no bundle yet, resuming what was interrupted; a cell that fails stops no other.

    `starts` is called before each calibration with the index of its cell.
    """
    from advcal_edge.calibrate.checkpoint import Checkpoint
    from advcal_edge.calibrate.run import Watch, calibrate

    failures = []
    for index, cell in enumerate(cells):
        try:
            if cell.bundle() is not None:
                continue
            starts(index, cell)
            calibrate(cell.config, Watch(progress), resume=Checkpoint.beside(cell.path, {}).exists())
        except AdvcalError as error:
            failures.append(Failure(cell, error))
    return failures


def _grid(path: Path, found: object) -> dict[str, list[str]]:
    """Values of each key, as text."""
    if not isinstance(found, dict) or not found:
        raise ConfigError(
            f"`{path}` has no table `grid`; expected keys with lists of values", hint="like `seed = [0, 1]`"
        )
    grid: dict[str, list[str]] = {}
    for key, values in found.items():
        if not isinstance(values, list) or not values or any(isinstance(value, (dict, list)) for value in values):
            raise ConfigError(f"`{path}`: `grid.{key}` is {str(values)[:60]}; expected a list of values")
        grid[key] = [_text(value) for value in values]
    limits.STUDY_CELLS.check(math.prod(map(len, grid.values())), f"the grid of `{path}`", ConfigError)
    return grid


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _combinations(grid: Mapping[str, list[str]], skipped: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    rules = [
        {key: [_text(item) for item in (value if isinstance(value, list) else [value])] for key, value in rule.items()}
        for rule in skipped
    ]
    for combination in itertools.product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        if not any(all(values[key] in among for key, among in rule.items()) for rule in rules):
            yield values


def _configured(path: Path, settings: Mapping[str, Any], values: Mapping[str, str], out: str) -> CalibrateConfig:
    own = parse_settings([f"{key}={value}" for key, value in values.items()])
    try:
        return configure([Layer(f"`{path}`", settings), Layer("grid", own.values), Layer("study", {"out": out})])
    except ConfigError as error:
        cell = " ".join(f"{key}={value}" for key, value in values.items())
        raise ConfigError(f"`{path}`, cell {cell}: {error.message}", hint=error.hint) from error
