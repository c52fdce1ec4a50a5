"""The tables of a study: means over its seeds with their spread, as Markdown and JSON, and every cell as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.study import REPEATED, Cell, Study
from advcal_edge.columns import COLUMNS, RECALL
from advcal_edge.errors import ConfigError
from advcal_edge.provenance import environment
from advcal_edge.report.table import percent
from advcal_edge.stats import wilson
from advcal_edge.storage import write_atomic

FROZEN = "frozen"
BEFORE_TRAINING = ("preset", "adapter.", "objective.", "craft.", "train.")
"""Keys of a grid that do not change the frozen encoder; its rows leave them out."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The mean of a share over seeds, the lowest and the highest, and the 95 % Wilson interval of the mean's count."""

    mean: float
    low: float
    high: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, shares: Sequence[float], n: int) -> Figure:
        """From the share of each seed, all of the same `n` samples."""
        mean = fmean(shares)
        interval = wilson(round(mean * n), n)
        return cls(mean, min(shares), max(shares), (interval.low, interval.high))

    def __str__(self) -> str:
        if self.low == self.high:
            return percent(self.mean)
        return f"{percent(self.mean)} ({percent(self.low)} to {percent(self.high)})"

    def to_json(self) -> dict[str, Any]:
        """Fractions."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "interval": list(self.interval)}


@dataclass(frozen=True, slots=True)
class Line:
    """One row: what was calibrated, with how many seeds and samples, and its figures by column."""

    values: Mapping[str, str]
    seeds: int
    n: int
    figures: Mapping[str, Figure]
    trained: float
    estimated: float

    def to_json(self) -> dict[str, Any]:
        """Plain types; shares are fractions."""
        return {
            "values": dict(self.values),
            "seeds": self.seeds,
            "n": self.n,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "trainable_fraction": self.trained,
            "estimated_fraction": self.estimated,
        }


def write_tables(study: Study) -> tuple[Path, ...]:
    """Write the tables of the cells that are finished; their paths.

    Raises:
        ConfigError: no cell is finished, or a bundle is of other settings.
        BundleError: a bundle is damaged, or a table cannot be written.
    """
    done = [(cell, bundle) for cell in study.cells if (bundle := cell.bundle()) is not None]
    if not done:
        raise ConfigError("no cell of this study is finished; expected at least one", hint="leave out `--tables`")
    lines = summarise(done)
    document = {
        "cells": len(study.cells),
        "finished": len(done),
        "environment": environment(),
        "lines": [line.to_json() for line in lines],
    }
    written = {
        study.results.with_suffix(".md"): markdown(lines),
        study.results.with_suffix(".csv"): as_csv(done),
        study.results.with_suffix(".json"): json.dumps(document, indent=1) + "\n",
    }
    for path, text in written.items():
        write_atomic(path, text.encode())
    return tuple(written)


def summarise(done: Sequence[tuple[Cell, Bundle]]) -> list[Line]:
    """A line for each cell without its seed, after one for the frozen encoder that it started from."""
    groups: dict[tuple[tuple[str, str], ...], list[Bundle]] = {}
    frozen: dict[tuple[tuple[str, str], ...], dict[str, Bundle]] = {}
    for cell, bundle in done:
        values = {key: value for key, value in cell.values.items() if key != REPEATED}
        groups.setdefault(tuple(values.items()), []).append(bundle)
        same = {key: value for key, value in values.items() if not key.startswith(BEFORE_TRAINING)}
        frozen.setdefault(tuple(same.items()), {})[cell.values.get(REPEATED, "")] = bundle  # one of each seed
    lines = []
    for key, bundles in frozen.items():
        lines.append(_line({**dict(key), "preset": FROZEN}, [*bundles.values()], "before"))
        lines += [_line(dict(values), own, "after") for values, own in groups.items() if set(key) <= set(values)]
    return lines


def _line(values: Mapping[str, str], bundles: Sequence[Bundle], row: str) -> Line:
    metrics = [bundle.section("metrics")[row] for bundle in bundles]
    n = bundles[0].section("metrics")["n"]
    figures: dict[str, Figure] = {name: Figure.of([each[name]["accuracy"] for each in metrics], n) for name in COLUMNS}
    if "recall" in metrics[0]:
        for state, column in RECALL.items():
            found = [each["recall"][state]["forward"]["recall@10"]["accuracy"] for each in metrics]
            figures[column] = Figure.of(found, n)
    adapters = [bundle.section("adapter") for bundle in bundles]
    shares = [
        0.0 if row == "before" else fmean(adapter[name] for adapter in adapters)
        for name in ("trainable_fraction", "estimated_fraction")
    ]
    return Line(values, len(bundles), n, figures, *shares)


def markdown(lines: Sequence[Line]) -> str:
    """One table; percent, means over seeds with the lowest and the highest."""
    keys = list(dict.fromkeys(key for line in lines for key in line.values))
    columns = list(dict.fromkeys(name for line in lines for name in line.figures))
    heading = [*keys, *columns, "trained %", "estimated %", "n", "seeds"]
    rows = [heading, ["---"] * len(heading)]
    for line in lines:
        figures = [str(line.figures[name]) if name in line.figures else "-" for name in columns]
        shares = [percent(line.trained, 2), percent(line.estimated, 2)]
        rows.append([*(line.values.get(key, "-") for key in keys), *figures, *shares, str(line.n), str(line.seeds)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def as_csv(done: Sequence[tuple[Cell, Bundle]]) -> str:
    """A row per cell with counts of right samples, after training."""
    keys = list(dict.fromkeys(key for cell, _ in done for key in cell.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "n", *COLUMNS, "parameters", "estimated", "bundle"])
    for cell, bundle in done:
        metrics, adapter = bundle.section("metrics"), bundle.section("adapter")
        counts = [metrics["after"][name]["correct"] for name in COLUMNS]
        own = [cell.values.get(key, "") for key in keys]
        writer.writerow([*own, metrics["n"], *counts, adapter["parameters"], adapter["estimated"], cell.path.name])
    return text.getvalue()
