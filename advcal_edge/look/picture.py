"""All that was seen as one PNG: for a chat, a ticket, or a machine without the packages that the page needs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import chain, groupby

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.look.chart import Chart
from advcal_edge.look.page import MARK
from advcal_edge.look.plate import LONGEST, Bar, Pixels, Plate
from advcal_edge.look.sight import Figure, Sight
from advcal_edge.report.table import one_line, printable, wrapped

WIDTH, MARGIN, LINE, COLUMN = 1000, 20, 17, 170  # pixels
PLATE, TALLEST, ACROSS, GAP = 306, 600, 3, 21  # pixels of a plate; plates in a row, pixels between them
FRAME = 120  # height of a chart's frame
INK, MUTED, RULE = (36, 31, 27), (112, 100, 91), (232, 227, 223)  # blue, green, red
COLOURS = ((101, 56, 10), (11, 86, 208), (233, 180, 86))
"""Of the lines; dark, medium and light."""

PLAIN = str.maketrans(
    {"\N{DEGREE SIGN}": "deg ", "\N{SUPERSCRIPT TWO}": "2", "\N{MINUS SIGN}": "-", "\N{PLUS-MINUS SIGN}": "+-"}
)
"""The font knows ASCII alone."""


def draw_png(sights: Sequence[Sight]) -> bytes:
    """One part for each file, below each other: figures, then facts."""
    picture = np.vstack([part for sight in sights for part in draw_sight(sight)])
    _, encoded = cv2.imencode(".png", picture, (cv2.IMWRITE_PNG_COMPRESSION, 6))
    return marked(encoded.tobytes())


def marked(png: bytes) -> bytes:
    """A PNG with a comment after its header that says who wrote it."""
    chunk = b"tEXtSoftware\0" + MARK.encode()
    after = 8 + 25  # signature and header
    return png[:after] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[after:]


def draw_sight(sight: Sight) -> list[Pixels]:
    """Rows of pixels, `WIDTH` wide."""
    parts = [draw_text([one_line(sight.path)], 0.7, INK)]
    if sight.refusal is not None:
        parts.append(draw_text([wrapped("refused: ", sight.refusal.message), wrapped("hint: ", sight.refusal.hint)]))
    for heading, figures in (
        ("The sensor's frame", sight.raw),
        ("x, as the encoder gets it", sight.x),
        ("", sight.histograms),
    ):
        if figures:
            parts += [draw_text([heading], 0.55, INK)] if heading else []
            parts += draw_figures(figures)
    for heading, facts in (*sight.understood(), *sight.given()):
        parts.append(draw_text([heading], 0.5))
        parts += [draw_fact(name, *rest) for name, *rest in facts]
    return parts


def draw_figures(figures: Sequence[Figure]) -> list[Pixels]:
    """Charts across the whole width, plates side by side."""
    rows: list[Pixels] = []
    for is_chart, group in groupby(figures, lambda figure: isinstance(figure, Chart)):
        if is_chart:
            rows += [draw_chart(figure) for figure in group if isinstance(figure, Chart)]
            continue
        plates = [draw_plate(figure) for figure in group if isinstance(figure, Plate)]
        for k in range(0, len(plates), ACROSS):
            canvas = blank(max(map(len, plates[k : k + ACROSS])))
            for place, plate in enumerate(plates[k : k + ACROSS]):
                left = MARGIN + place * (PLATE + GAP)
                canvas[: len(plate), left : left + plate.shape[1]] = plate
            rows.append(canvas)
    return rows


def draw_plate(plate: Plate) -> Pixels:
    """A plate with its palette below: `PLATE` wide, or as wide as a contact sheet is."""
    picture = plate.pixels
    widest = plate.width if LONGEST < plate.width <= WIDTH - 2 * MARGIN else PLATE
    scale = min(widest / plate.width, TALLEST / plate.height) if plate.width else 0.0
    side, height = (max(1, round(length * scale)) if plate.width else 0 for length in (plate.width, plate.height))
    below = (18 if plate.axes else 0) + (44 if plate.bar else 8)
    canvas = blank(LINE + height + below, widest)
    write(canvas, 0, 13, plate.title)
    if height > 0:
        if picture.ndim == 2:
            picture = np.repeat(picture[:, :, None], 3, axis=2)
        if picture.shape[2] == 4:
            picture = np.where(picture[:, :, 3:] > 0, picture[:, :, :3], 255).astype(np.uint8)
        how = cv2.INTER_NEAREST if plate.width < side else cv2.INTER_AREA
        canvas[LINE : LINE + height, :side] = cv2.resize(
            np.ascontiguousarray(picture), (side, height), interpolation=how
        )
        if plate.crop is not None:
            left, top, wide, high = (
                round(share * length) for share, length in zip(plate.crop, (side, height) * 2, strict=True)
            )
            cv2.rectangle(canvas, (left, LINE + top), (left + wide - 1, LINE + top + high - 1), (255, 255, 255), 1)
    if plate.axes is not None:
        axes = plate.axes
        text = f"{axes.x_name[0]} {reach(axes.x_ticks)}, {axes.y_name[0]} {reach(axes.y_ticks)} up"
        write(canvas, 0, LINE + height + 14, text, MUTED)
    if plate.bar is not None:
        draw_bar(canvas, LINE + height + below - 40, plate.bar)
    return canvas


def reach(ticks: Sequence[tuple[float, str]]) -> str:
    """The first and the last label of an axis."""
    return f"{ticks[0][1]} to {ticks[-1][1]}" if ticks else ""


def draw_bar(canvas: Pixels, top: int, bar: Bar) -> None:
    """A palette with its labels."""
    canvas[top : top + 10] = cv2.resize(bar.palette, (PLATE, 10), interpolation=cv2.INTER_NEAREST)
    for place, label in bar.ticks:
        write(canvas, round(place * PLATE / 100), top + 22, label, MUTED, centre=True)
    write(canvas, PLATE // 2, top + 36, bar.name, MUTED, centre=True)


def draw_chart(chart: Chart) -> Pixels:
    """A chart across the whole width."""
    left, wide, top = MARGIN + 50, WIDTH - 2 * MARGIN - 50, LINE + 4
    canvas = blank(top + FRAME + 38)
    write(canvas, MARGIN, 13, f"{chart.title}: {chart.y_name} over {chart.x_name}")
    if chart.picture is not None:
        canvas[top : top + FRAME, left : left + wide] = cv2.resize(
            chart.picture, (wide, FRAME), interpolation=cv2.INTER_AREA
        )
    for span in chart.spans:
        canvas[top : top + FRAME, left + round(span.start * wide / 100) : left + round(span.end * wide / 100) + 1] = (
            222,
            231,
            238,
        )
    for line in chart.lines:
        places: NDArray[np.int32] = np.rint(np.array(line.points) * [wide / 100, FRAME / 100] + [left, top]).astype(
            np.int32
        )
        if chart.solid:
            cv2.fillPoly(canvas, [places], COLOURS[line.look])
        cv2.polylines(canvas, [places], chart.solid, COLOURS[line.look], 1, cv2.LINE_AA)
    for k, line in enumerate(chart.lines if len(chart.lines) > 1 else ()):
        write(canvas, WIDTH - MARGIN - 90 * (len(chart.lines) - k), 13, line.name, COLOURS[line.look])
    cv2.rectangle(canvas, (left, top), (left + wide - 1, top + FRAME - 1), RULE, 1)
    for place, label in chart.y_ticks:
        write(canvas, MARGIN, top + round(place * FRAME / 100) + 4, label, MUTED)
    for place, label in chart.x_ticks:
        write(canvas, left + round(place * wide / 100), top + FRAME + 14, label, MUTED, centre=True)
    return canvas


def draw_fact(name: str, *rest: str) -> Pixels:
    """A fact: its name in one column, the rest in another."""
    lines = wrapped("", " ".join(rest)).split("\n")
    canvas = blank(LINE * len(lines))
    write(canvas, MARGIN, LINE - 4, name, MUTED)
    for k, line in enumerate(lines):
        write(canvas, MARGIN + COLUMN, LINE * (k + 1) - 4, line)
    return canvas


def draw_text(blocks: Sequence[str], size: float = 0.4, colour: tuple[int, int, int] = INK) -> Pixels:
    """Lines of text across the whole width."""
    lines = list(chain.from_iterable(block.split("\n") for block in blocks))
    step = round(LINE * max(1.0, size / 0.4))
    canvas = blank(step * len(lines) + 10)
    for k, line in enumerate(lines):
        write(canvas, MARGIN, step * (k + 1), line, colour, size)
    return canvas


def blank(height: int, width: int = WIDTH) -> Pixels:
    """Paper."""
    return np.full((height, width, 3), 255, np.uint8)


def write(
    canvas: Pixels,
    x: int,
    y: int,
    text: str,
    colour: tuple[int, int, int] = INK,
    size: float = 0.4,
    *,
    centre: bool = False,
) -> None:
    """Text with its base line at y; what the font does not have becomes a question mark."""
    plain = printable(text).translate(PLAIN).encode("ascii", "replace").decode()
    (wide, _), _ = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    if centre:
        x = max(0, min(x - wide // 2, canvas.shape[1] - wide))
    cv2.putText(canvas, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
