"""Each group of cells in a process of its own: what crashes or hangs there costs its own rows and no others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from gpu_bench import calibrating, crafting, onnx_backend, plans, roofline, torch_backends, verifying
from gpu_bench.rows import Cell, Row, attempt
from gpu_bench.settings import GROUPS, Settings

NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}  # some runtimes have TF32 on and no switch of their own that reaches through
ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}  # as the command line sets it
LEAST = 1.0  # seconds below which nothing is started


@dataclass(frozen=True, slots=True)
class Group:
    """What is measured in one process; `weight` is its part of the time that is left, by which nobody starves."""

    cells: Callable[[Settings], list[Cell]]
    measure: Callable[[Cell, Settings], Row]
    weight: float
    environment: Mapping[str, str]


GROUP: Mapping[str, Group] = {
    "roofline": Group(roofline.cells, roofline.measure, 2, {}),
    "onnx": Group(onnx_backend.cells, onnx_backend.measure, 3, NO_TF32),
    "tensorrt": Group(partial(plans.cells, product="tensorrt"), partial(plans.measure, product="tensorrt"), 4, NO_TF32),
    "tensorrt_rtx": Group(
        partial(plans.cells, product="tensorrt_rtx"), partial(plans.measure, product="tensorrt_rtx"), 2, NO_TF32
    ),
    "verify": Group(verifying.cells, verifying.measure, 3, NO_TF32),
    "crafting": Group(crafting.cells, crafting.measure, 3, NO_TF32),
    "calibrating": Group(calibrating.cells, calibrating.measure, 4, NO_TF32),
    "torch": Group(torch_backends.cells, torch_backends.measure, 4, NO_TF32),
}


def run_group(name: str, settings: Settings, out: Path) -> None:
    """In the process of a group: measure its cells and write each row as it is found."""
    group = GROUP[name]
    with out.open("a", encoding="utf-8") as file:
        for cell in group.cells(settings):
            row = attempt(cell, lambda cell: group.measure(cell, settings))
            file.write(json.dumps(row.to_json()) + "\n")
            file.flush()


def run_all(
    settings: Settings, command: Sequence[str], deadline: float, say: Callable[[str], None]
) -> tuple[list[Row], dict[str, float]]:
    """Rows and seconds of all groups, each run by `command` with its name and file; every cell has a row."""
    rows: list[Row] = []
    seconds: dict[str, float] = {}
    for index, name in enumerate(GROUPS):
        cells = GROUP[name].cells(settings)
        if name in settings.skip:
            rows += [Row(cell, reason="left out, as asked") for cell in cells]
            continue
        later = sum(GROUP[other].weight for other in GROUPS[index:] if other not in settings.skip)
        limit = (deadline - monotonic()) * GROUP[name].weight / later
        say(f"{name}: {len(cells)} cells, at most {max(limit, 0):.0f} s")
        started = monotonic()
        rows += run_one(name, cells, settings.workshop, command, limit)
        seconds[name] = monotonic() - started
    return rows, seconds


def run_one(name: str, cells: list[Cell], workshop: Path, command: Sequence[str], limit: float) -> list[Row]:
    """Rows of one group: what its process found, and for the other cells why it found nothing."""
    if limit < LEAST:
        return [Row(cell, reason="not measured: no time was left for it; raise `--minutes`") for cell in cells]
    out, log = workshop / f"{name}.rows", workshop / f"{name}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, *command, name, str(out)],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env={**os.environ, **ASLEEP, **GROUP[name].environment},
            start_new_session=True,  # so that compilers it has started end with it
        )
        try:
            code = process.wait(timeout=limit)
            reason = ending(code, log)
        except subprocess.TimeoutExpired:
            reason = f"not measured: the {limit:.0f} s of this group were over; raise `--minutes`"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    found = {row.cell: row for row in read(out)}
    return [found.get(cell, Row(cell, reason=reason)) for cell in cells]


def read(path: Path) -> list[Row]:
    """The rows that were written whole."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    return [Row.from_json(json.loads(line)) for line in lines if line.endswith("\n")]


def ending(code: int, log: Path) -> str:
    """How a process ended, in words."""
    said = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return f"failed: its process {how}: {said[-1] if said else 'it said nothing'}"
