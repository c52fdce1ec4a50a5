"""What the rows say: held against the roofline, as one table, and against the goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from advcal_edge.report.table import percent, table
from gpu_bench import crafting, roofline, torch_backends
from gpu_bench.rows import Cell, Row, Spread
from gpu_bench.trunks import Cost

Measured = tuple[float, Cell]

GOAL_BOUND, GOAL_PEAK = 1.5, 0.4
PARTS = (roofline.PART, "export", torch_backends.PART, crafting.PART, "verify")
HEADER = ("what", "of", "type", "batch", "median", "95 %", "unit", "samples/s", "x bound", "% peak", "cosine", "note")


def judge(rows: Sequence[Row], costs: Mapping[str, Cost]) -> list[Row]:
    """The rows in the order of the table, with time / bound and share of the matrix peak where both sides are known."""
    ceilings = [row for row in rows if row.cell.part == roofline.PART and row.value is not None]
    peaks = {row.cell.precision: row.value.median for row in ceilings if row.value and row.cell.precision}
    bandwidth = next((row.value.median for row in ceilings if row.value and not row.cell.precision), None)
    device = next((row.figures["device"] for row in ceilings), None)
    found = [held(row, costs, peaks, bandwidth) if row.figures.get("device") == device else row for row in rows]
    backends = list(dict.fromkeys([*torch_backends.WAYS, *(row.cell.backend for row in found)]))
    return sorted(
        found, key=lambda row: (PARTS.index(row.cell.part), row.cell.modality, backends.index(row.cell.backend))
    )


def held(row: Row, costs: Mapping[str, Cost], peaks: Mapping[str, float], bandwidth: float | None) -> Row:
    """One row that was measured on the device of the roofline."""
    peak, cell = roofline.peak_of(row.cell.precision, peaks), row.cell
    if row.value is None or peak is None:
        return row
    if cell.part == torch_backends.PART and bandwidth is not None:
        least = roofline.bound(costs[cell.modality], cell.batch, cell.precision, peak, bandwidth)
        more = {"bound_milliseconds": least, "times_bound": row.value.median / least}
        return replace(row, figures={**row.figures, **more})
    if cell.part == crafting.PART:
        both = costs[cell.modality].both
        share = crafting.share_of_peak(row.value.median, row.figures["steps"], both, peak)
        return replace(row, figures={**row.figures, "share_of_peak": share})
    return row


def draw(rows: Sequence[Row]) -> str:
    """The table; neighbours that lack a figure for the same reason share a line."""
    lines = []
    for (reason, *_), group in groupby(rows, key=lambda row: (row.reason, row.cell.backend, row.cell.modality)):
        alike = list(group)
        lines += [missing(alike)] if reason else [line(row) for row in alike]
    return table(HEADER, lines)


def missing(rows: Sequence[Row]) -> list[str]:
    """The line of cells without figures."""
    first = rows[0]
    precisions = dict.fromkeys(row.cell.precision for row in rows)
    batches = dict.fromkeys(str(row.cell.batch) for row in rows if row.cell.batch)
    start = [first.cell.backend, first.cell.modality, ",".join(precisions), ",".join(batches)]
    return [*start, *[""] * 7, first.reason or ""]


def line(row: Row) -> list[str]:
    """The line of a cell with figures."""
    cell, figures = row.cell, row.figures
    start = [cell.backend, cell.modality, cell.precision, str(cell.batch or "")]
    if row.value is None:
        return missing([row])
    rate = figures.get("samples_per_second")
    return [
        *start,
        number(row.value.median),
        interval(row.value),
        row.unit,
        number(rate["median"]) if rate else "",
        f"{figures['times_bound']:.2f}" if "times_bound" in figures else "",
        percent(figures["share_of_peak"]) if "share_of_peak" in figures else "",
        f"{figures['cosine']:.4f}" if "cosine" in figures else "",
        figures.get("note", ""),
    ]


def interval(value: Spread) -> str:
    """An interval, or nothing where there is one measurement."""
    return f"[{number(value.low)}, {number(value.high)}]" if value.n > 1 else ""


def number(value: float) -> str:
    """Three digits that count, and no exponent."""
    digits = next((digits for digits, below in ((4, 0.1), (3, 1), (2, 10), (1, 100)) if abs(value) < below), 0)
    return f"{value:.{digits}f}"


def goals(rows: Sequence[Row]) -> list[str]:
    """What was hoped for and what came out."""
    bounds = [(float(row.figures["times_bound"]), row.cell) for row in rows if "times_bound" in row.figures]
    shares = [(float(row.figures["share_of_peak"]), row.cell) for row in rows if "share_of_peak" in row.figures]
    near = [f"{name(cell)} {value:.2f}" for value, cell in best(bounds, min)]
    high = [f"{name(cell)} {percent(value)} %" for value, cell in best(shares, max)]
    held = sum(value <= GOAL_BOUND for value, _ in bounds)
    reached = sum(value >= GOAL_PEAK for value, _ in shares)
    return [
        f"goal: time within {GOAL_BOUND:g} of the bound: {held} of {len(bounds)} cells; nearest: {said(near)}",
        f"goal: crafting at {percent(GOAL_PEAK, 0)} % of the matrix peak: {reached} of {len(shares)} cells;"
        f" highest: {said(high)}",
    ]


def best(found: Sequence[Measured], choose: Callable[..., Measured]) -> list[Measured]:
    """Of each trunk."""
    trunks = dict.fromkeys(cell.modality for _, cell in found)
    return [choose((one for one in found if one[1].modality == trunk), key=lambda one: one[0]) for trunk in trunks]


def name(cell: Cell) -> str:
    """A cell in words."""
    return f"{cell.modality} {cell.backend} {cell.precision} batch {cell.batch}"


def said(found: Sequence[str]) -> str:
    """A list in words."""
    return "; ".join(found) or "nothing was measured"
