"""Many calibrations from one file: every combination of its cases and its grid of settings is a bundle.

`study_file.py` has an example of the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.presets import configure
from advcal_edge.calibrate.study_file import StudyFile, folder_name
from advcal_edge.config import Layer
from advcal_edge.errors import AdvcalError, ConfigError
from advcal_edge.progress import Progress, silent


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
        same = {**bundle.section("config"), **open_ended} == settings
        if not same or bundle.threat != self.config.threat_model(bundle.modality.input):
            raise ConfigError(
                f"`{self.path}` was calibrated with other settings than the cell {self}",
                hint="give the study another `out`, or remove that bundle",
            )
        return bundle


@dataclass(frozen=True, slots=True)
class Study:
    """The cells of a file, where its tables go, and the speed of the device that its estimate assumes, in TFLOP/s."""

    results: Path
    speed: float
    cells: tuple[Cell, ...]

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read a file and check the settings of every cell.

        Raises:
            ConfigError: as for `StudyFile.read`, or no cells, cells of the same name, or settings that are wrong in
                some cell; the message names the cell.
        """
        file = StudyFile.read(path)
        cells: dict[str, Cell] = {}
        for values, layers in file.combinations():
            name = folder_name(values)
            cell = _configured(path, values, [*layers, Layer("study", {"out": str(file.out / name)})])
            if name in cells:
                raise ConfigError(f"`{path}`: the cells {cells[name]} and {cell} share the name `{name}`")
            cells[name] = cell
        if not cells:
            raise ConfigError(f"`{path}`: every cell is skipped")
        return cls(file.results, file.speed, tuple(cells.values()))

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


def unfinished(cells: tuple[Cell, ...]) -> list[Cell]:
    """Those that `run_cells` would calibrate; what is in the place of others is left to it to report."""
    left = []
    for cell in cells:
        try:
            done = cell.bundle() is not None
        except AdvcalError:
            continue
        if not done:
            left.append(cell)
    return left


def _configured(path: Path, values: Mapping[str, str], layers: list[Layer]) -> Cell:
    try:
        return Cell(values, configure(layers))
    except ConfigError as error:
        cell = " ".join(f"{key}={value}" for key, value in values.items())
        raise ConfigError(f"`{path}`, cell {cell}: {error.message}", hint=error.hint) from error
