"""Headers of Prophesee's files, and events from its DAT files.

Lines of text that begin with `% ` stand before the data, up to `% end` where there is one. RAW files name the format of
their words (`% evt 3.0`, `% format EVT3;height=720;width=1280`); DAT files are of 8 bytes an event: 32 bits of
microseconds, 14 of x, 14 of y and 4 of polarity, lowest byte first, after two bytes that say so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.prophesee_words import EVENT, read_evt
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, quoted, read_sensor_file
from advcal_edge.runtime.sensors.frame import Array

MARK = b"% "
END = b"% end"
LONGEST_HEADER = 2**16

CD_EVENTS, CD_BYTES = (0x00, 0x0C), 8
"""Types of DAT events that are changes of contrast: the first version's and today's."""

SIDE_BITS, POLARITY_BIT = 14, 28
CLOCK = 2**32
"""Microseconds after which the clock of a DAT file starts again."""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the data: words by the word they follow, and where the data begin."""

    length: int
    lines: dict[str, str] = field(default_factory=dict)

    @property
    def encoding(self) -> str:
        """`EVT3`, `EVT2`, `EVT21`, `DAT`, or what else it names; "" if it names none."""
        named = self.lines.get("format", "").partition(";")[0] or self.lines.get("evt", "")
        if named:
            return "EVT" + named.upper().removeprefix("EVT").replace(".0", "").replace(".", "")
        return "DAT" if "version" in self.lines or "data" in self.lines else ""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the sensor, or zeros."""
        text = ";".join(f"{name}={words}" for name, words in self.lines.items())
        found = [re.search(rf"\b{side}\s*=\s*([0-9]{{1,5}})\b", text, re.I) for side in ("height", "width")]
        if found[0] and found[1]:
            return int(found[0][1]), int(found[1][1])
        geometry = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", self.lines.get("geometry", ""))
        return (int(geometry[2]), int(geometry[1])) if geometry else (0, 0)


def read_header(data: bytes) -> Header:
    """The lines before the data."""
    at = 0
    lines: dict[str, str] = {}
    while data.startswith(MARK, at) and at < LONGEST_HEADER:
        end = data.find(b"\n", at, at + LONGEST_HEADER)
        if end < 0:
            break
        line, at = data[at:end].strip(), end + 1
        if line.lower() == END:
            break
        name, _, words = line[len(MARK) :].decode("latin-1").strip().partition(" ")
        lines.setdefault(name.lower(), words.strip())
    return Header(at, lines)


def is_prophesee(magic: bytes) -> bool:
    """Do the first bytes of a file name one of these formats, and not a comment of a text?"""
    return (
        magic.startswith(MARK)
        and re.search(rb"^% (evt |format |Data file|Version|system_ID|integrator)", magic, re.M | re.I) is not None
    )


def read_prophesee(path: Path) -> Array:
    """The events (n,) in a RAW file (EVT 2.0, 2.1, 3.0) or a DAT file, with the fields t in microseconds, x, y, p.

    Raises:
        InputError: missing, truncated, damaged, of another encoding, or with too many events.
    """
    data = read_sensor_file(path)
    header, where = read_header(data), f"`{path}`"
    if header.encoding == "DAT":
        events = _read_dat(data, header, where)
    elif header.encoding in ("EVT2", "EVT21", "EVT3") and "legacy" not in header.lines.get("format", ""):
        try:
            events = read_evt(np.frombuffer(data, np.uint8, offset=header.length), header.encoding, where)
        except ValueError as error:
            raise InputError(f"{where} is no whole {header.encoding} file: {error}", hint=AGAIN) from error
    else:
        raise InputError(
            f"{where} is a Prophesee file of encoding {header.encoding or 'unknown'}; expected EVT 2, 2.1, 3 or DAT",
            hint=f"`metavision_file_to_hdf5 -i {quoted(path)} -o events.h5` of the Metavision SDK converts it",
        )
    height, width = header.size
    if len(events) and ((height and events["y"].max() >= height) or (width and events["x"].max() >= width)):
        sides = f"x {events['x'].max()}, y {events['y'].max()}"
        raise InputError(
            f"{where} holds events up to {sides}; its header says {width} x {height}",
            hint=AGAIN,
        )
    return events


def _read_dat(data: bytes, header: Header, where: str) -> Array:
    body = data[header.length :]
    if len(body) < 2 or body[0] not in CD_EVENTS or body[1] != CD_BYTES:
        raise InputError(
            f"{where} is a DAT file of events of type {body[:1].hex() or '-'} and {body[1:2].hex() or '-'} bytes;"
            f" expected changes of contrast, type 0c or 00, of {CD_BYTES} bytes",
            hint="export its CD events; files of triggers and of intensities hold no pictures",
        )
    if (len(body) - 2) % CD_BYTES:
        raise InputError(f"{where} has {len(body) - 2} bytes of events; expected {CD_BYTES} for each", hint=AGAIN)
    limits.EVENTS.check((len(body) - 2) // CD_BYTES, where, InputError)
    times, places = np.frombuffer(body, "<u4", offset=2).reshape(-1, 2).T
    events = np.empty(len(times), EVENT)
    wraps = np.diff(times.astype(np.int64), prepend=times[:1].astype(np.int64)) < -CLOCK // 2
    events["t"] = times + CLOCK * np.cumsum(wraps)
    events["x"], events["y"] = places & (2**SIDE_BITS - 1), places >> SIDE_BITS & (2**SIDE_BITS - 1)
    if (places >> POLARITY_BIT > 1).any():
        raise InputError(f"{where} holds a polarity of {places.max() >> POLARITY_BIT}; expected 0 and 1", hint=AGAIN)
    events["p"] = places >> POLARITY_BIT
    return events
