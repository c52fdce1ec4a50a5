"""What the rows say: held against the roofline, as one table, and against the goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from advcal_edge.calibrate.memory import GIB, HEADROOM
from advcal_edge.report.table import percent, table
from gpu_bench import calibrating, crafting, roofline, torch_backends
from gpu_bench.rows import Cell, Row, Spread
from gpu_bench.trunks import Cost

Measured = tuple[float, Cell]

GOAL_BOUND, GOAL_PEAK, GOAL_PEER, GOAL_MEMORY = 1.5, 0.4, 1.0, 1 / HEADROOM
PARTS = (roofline.PART, "export", torch_backends.PART, crafting.PART, calibrating.PART, "verify")
START = ("what", "of", "type", "batch")
FIGURES = ("median", "95 %", "unit", "samples/s", "x bound", "x peer", "% peak", "GiB", "expected", "cosine")


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
    if cell.part == calibrating.PART:
        share = calibrating.share_of_peak(row.value.median, row.figures["operations"], peak)
        return replace(row, figures={**row.figures, "share_of_peak": share})
    return row


def draw(rows: Sequence[Row]) -> str:
    """The table, of columns that some row fills; neighbours that lack a figure for the same reason share a line."""
    lines = []
    for (reason, *_), group in groupby(rows, key=lambda row: (row.reason, row.cell.backend, row.cell.modality)):
        alike = list(group)
        lines += [missing(alike)] if reason else [line(row) for row in alike]
    header = (*START, *FIGURES, "note")
    kept = [at for at, name in enumerate(header) if name not in FIGURES or any(line[at] for line in lines)]
    return table([header[at] for at in kept], [[line[at] for at in kept] for line in lines])


def missing(rows: Sequence[Row]) -> list[str]:
    """The line of cells without figures."""
    first = rows[0]
    precisions = dict.fromkeys(row.cell.precision for row in rows)
    batches = dict.fromkeys(str(row.cell.batch) for row in rows if row.cell.batch)
    start = [first.cell.backend, first.cell.modality, ",".join(precisions), ",".join(batches)]
    return [*start, *[""] * len(FIGURES), first.reason or ""]


def line(row: Row) -> list[str]:
    """The line of a cell with figures."""
    cell, figures = row.cell, row.figures
    start = [cell.backend, cell.modality, cell.precision, str(cell.batch or "")]
    if row.value is None:
        return missing([row])
    rate, peer, memory = (figures.get(name) for name in ("samples_per_second", "times_peer", "memory_bytes"))
    expected = figures.get("memory_estimate_bytes") if memory else None
    return [
        *start,
        number(row.value.median),
        interval(row.value),
        row.unit,
        number(rate["median"]) if rate else "",
        f"{figures['times_bound']:.2f}" if "times_bound" in figures else "",
        f"{peer['median']:.2f}" if peer else "",
        percent(figures["share_of_peak"]) if "share_of_peak" in figures else "",
        number(memory / GIB) if memory else "",
        number(expected / GIB) if expected else "",
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


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit of a figure, at most or at least."""

    text: str
    limit: float
    most: bool
    figure: Callable[[Row], float | None]
    show: Callable[[float], str] = "{:.2f}".format

    def judge(self, rows: Sequence[Row]) -> str:
        """How many cells keep it, and of each trunk the one that does best."""
        found = [(value, row.cell) for row in rows if (value := self.figure(row)) is not None]
        kept = sum(value <= self.limit if self.most else value >= self.limit for value, _ in found)
        ends = [f"{name(cell)} {self.show(value)}" for value, cell in best(found, min if self.most else max)]
        end = "lowest" if self.most else "highest"
        return f"goal: {self.text}: {kept} of {len(found)} cells; {end}: {said(ends)}"


def figure(name: str, part: str | None = None) -> Callable[[Row], float | None]:
    """A figure of the rows of a part, where they have it."""
    return lambda row: float(row.figures[name]) if name in row.figures and part in (None, row.cell.part) else None


def pace(row: Row) -> float | None:
    """How many steps of calibration are made in the time of one by the plain loop."""
    found = row.figures.get("times_peer")
    return None if found is None else float(found["median"])


def memory(row: Row) -> float | None:
    """The peak of memory as a multiple of what `calibrate` expects."""
    peak, expected = (row.figures.get(name) for name in ("memory_bytes", "memory_estimate_bytes"))
    return float(peak) / float(expected) if peak and expected else None


def share(value: float) -> str:
    """A share in percent."""
    return f"{percent(value)} %"


GOALS = (
    Goal(f"time within {GOAL_BOUND:g} of the bound", GOAL_BOUND, True, figure("times_bound")),
    *(
        Goal(
            f"{part} at {percent(GOAL_PEAK, 0)} % of the matrix peak",
            GOAL_PEAK,
            False,
            figure("share_of_peak", part),
            share,
        )
        for part in (crafting.PART, calibrating.PART)
    ),
    Goal("calibrating at least as fast as the plain loop", GOAL_PEER, False, pace),
    Goal(f"memory of calibrating within {GOAL_MEMORY:.2f} of what it expects", GOAL_MEMORY, True, memory),
)


def goals(rows: Sequence[Row]) -> list[str]:
    """What was hoped for and what came out."""
    return [goal.judge(rows) for goal in GOALS]


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
