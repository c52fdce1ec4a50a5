"""Words of Prophesee's RAW files to events, in numpy: EVT 2.0, 2.1 and 3.0, as Prophesee documents them.

The decoders are written here since what reads them elsewhere is a whole SDK, or native code that aborts on damaged
files. Words are taken in blocks; those that set a state (time, row, start of a vector) are carried into the next block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.frame import Array

EVENT = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")])
BLOCK = 2**20

LOW_BITS_2, HIGH_BITS_2 = 6, 28
LOW_BITS_3, HIGH_BITS_3 = 12, 12
SIDE = 2**11

OFF, ON, TIME_HIGH = 0x0, 0x1, 0x8
KNOWN_2 = (OFF, ON, TIME_HIGH, 0xA, 0xE, 0xF)
"""With triggers, words of other sources and their continuations, which are left out."""

ROW, SINGLE, BASE, VECTOR_12, VECTOR_8, TIME_LOW = 0x0, 0x2, 0x3, 0x4, 0x5, 0x6
KNOWN_3 = (ROW, SINGLE, BASE, VECTOR_12, VECTOR_8, TIME_LOW, 0x7, TIME_HIGH, 0xA, 0xE, 0xF)


class Decoder:
    """State between blocks: the words that restore it, and how often the clock has started again."""

    def __init__(self) -> None:
        self.restoring: list[int] = []
        self.loops = 0
        self.last_high = -1


def read_evt(data: NDArray[np.uint8], encoding: str, where: str) -> Array:
    """The events (n,) in the words of an encoding EVT2, EVT21 or EVT3; those before the first time are left out.

    Raises:
        ValueError: a word is cut off or of a type that the encoding does not have, or a vector leaves the sensor.
        InputError: too many events.
    """
    dtype, decode = ENCODINGS[encoding]
    if len(data) % np.dtype(dtype).itemsize:
        raise ValueError(f"{len(data)} bytes are no words of {np.dtype(dtype).itemsize} bytes")
    parts, count = [np.empty(0, EVENT)], 0
    for part in _parts(data.view(dtype), decode):
        count += len(part)
        limits.EVENTS.check(count, where, InputError)
        parts.append(part)
    return np.concatenate(parts)


def decode_packet(data: NDArray[np.uint8], encoding: str, state: Decoder) -> Array:
    """The events (n,) in the next words of a stream, like the packets of a driver; `state` is what they follow.

    Raises:
        ValueError: a word is cut off, or of a type that the encoding does not have.
    """
    dtype, decode = ENCODINGS[encoding]
    if len(data) % np.dtype(dtype).itemsize:
        raise ValueError(f"{len(data)} bytes are no words of {np.dtype(dtype).itemsize} bytes")
    return decode(np.concatenate([np.array(state.restoring, dtype), data.view(dtype)]), state)


def _parts(words: Array, decode: Callable[[Array, Decoder], Array]) -> Iterator[Array]:
    state = Decoder()
    for start in range(0, len(words), BLOCK):
        block = words[start : start + BLOCK]
        yield decode(np.concatenate([np.array(state.restoring, words.dtype), block]), state)


def _decode_2(words: Array, state: Decoder) -> Array:
    """EVT 2.0: words of 32 bits, an event each: type 4, time 6, x 11, y 11."""
    kinds = _kinds(words >> 28, KNOWN_2)
    times, started = _times_2(words, kinds, words & (2**HIGH_BITS_2 - 1), words >> 22 & 63, state)
    at = np.flatnonzero((kinds <= ON) & started)
    return _events(times[at], words[at] >> 11 & (SIDE - 1), words[at] & (SIDE - 1), kinds[at] == ON)


def _decode_21(words: Array, state: Decoder) -> Array:
    """EVT 2.1: words of 64 bits, up to 32 events of a row: type 4, time 6, x 11, y 11, a bit per pixel from x on."""
    kinds = _kinds(words >> 60, KNOWN_2)
    times, started = _times_2(words, kinds, words >> 32 & (2**HIGH_BITS_2 - 1), words >> 54 & 63, state)
    at = np.flatnonzero((kinds <= ON) & started)
    which, offsets = _set_bits(words[at] & (2**32 - 1), 32)
    at = at[which]
    x = (words[at] >> 43 & (SIDE - 1)).astype(np.int64) + offsets
    return _events(times[at], x, words[at] >> 32 & (SIDE - 1), kinds[at] == ON)


def _decode_3(words: Array, state: Decoder) -> Array:
    """EVT 3.0: words of 16 bits, that set time or row, or hold one event, or those among the next 12 or 8 pixels."""
    kinds = _kinds(words >> 12, KNOWN_3)
    payload = (words & 0xFFF).astype(np.int64)
    index = np.arange(len(words))
    high_at, row_at, base_at = (_latest(kinds == kind, index) for kind in (TIME_HIGH, ROW, BASE))
    low_at = _latest(kinds == TIME_LOW, index)
    highs, changes = _highs(kinds, payload, HIGH_BITS_3, state)
    low = np.where(low_at > _latest(changes, index), payload[low_at], 0)  # a new high word sets the low bits to 0
    times = highs << LOW_BITS_3 | low
    started = (high_at >= 0) & (row_at >= 0)
    widths = np.where(kinds == VECTOR_12, 12, np.where(kinds == VECTOR_8, 8, 0))
    passed = np.cumsum(widths) - widths
    vectors = np.flatnonzero((widths > 0) & started & (base_at >= 0))
    which, offsets = _set_bits(payload[vectors] & ((1 << widths[vectors]) - 1), 12)
    vectors = vectors[which]
    bases = base_at[vectors]
    singles = np.flatnonzero((kinds == SINGLE) & started)
    at = np.concatenate([singles, vectors])
    x = np.concatenate([payload[singles] % SIDE, payload[bases] % SIDE + passed[vectors] - passed[bases] + offsets])
    on = np.concatenate([payload[singles], payload[bases]]) >= SIDE
    order = np.argsort(at, kind="stable")
    if len(words):
        _carry_3(
            words, (high_at, low_at, row_at, base_at), low[-1], passed[-1] + widths[-1] - passed[base_at[-1]], state
        )
    return _events(times[at][order], x[order], payload[row_at[at]][order] % SIDE, on[order])


ENCODINGS: dict[str, tuple[str, Callable[[Array, Decoder], Array]]] = {
    "EVT2": ("<u4", _decode_2),
    "EVT21": ("<u8", _decode_21),
    "EVT3": ("<u2", _decode_3),
}
"""Type of the words of each encoding, and what decodes a block of them."""


def _kinds(kinds: Array, known: tuple[int, ...]) -> NDArray[np.uint8]:
    there = kinds.astype(np.uint8)
    odd = ~np.isin(there, known)
    if odd.any():
        raise ValueError(f"word {int(odd.argmax())} of a block is of type {there[odd.argmax()]:#x}, which there is not")
    return there


def _times_2(words: Array, kinds: Array, high: Array, low: Array, state: Decoder) -> tuple[Array, NDArray[np.bool_]]:
    """Microseconds of each word, and whether there was a time before it."""
    highs, _ = _highs(kinds, high.astype(np.int64), HIGH_BITS_2, state)
    latest = _latest(kinds == TIME_HIGH, np.arange(len(words)))
    if len(words) and latest[-1] >= 0:
        state.restoring = [int(words[latest[-1]])]
    return highs << LOW_BITS_2 | low.astype(np.int64), latest >= 0


def _highs(kinds: Array, payload: Array, bits: int, state: Decoder) -> tuple[Array, NDArray[np.bool_]]:
    """The high part of the time at each word, counted on where the clock starts again, and the words that change it."""
    at = np.flatnonzero(kinds == TIME_HIGH)
    values = payload[at]
    before = np.concatenate([[state.last_high if state.last_high >= 0 else (values[0] if len(at) else 0)], values[:-1]])
    loops = state.loops + np.cumsum(before - values > 2 ** (bits - 1))
    changes = np.zeros(len(kinds), bool)
    changes[at] = before[: len(at)] != values
    if len(at):
        changes[at[0]] |= state.last_high < 0
        state.last_high, state.loops = int(values[-1]), int(loops[-1])
    highs = np.concatenate([[0], (loops << bits) + values])
    return highs[np.cumsum(kinds == TIME_HIGH)], changes


def _carry_3(words: Array, places: tuple[Array, ...], low: int, travelled: int, state: Decoder) -> None:
    high_at, _, row_at, base_at = (int(place[-1]) for place in places)
    state.restoring = [int(words[high_at])] if high_at >= 0 else []
    state.restoring += [TIME_LOW << 12 | int(low)]
    state.restoring += [int(words[row_at])] if row_at >= 0 else []
    if base_at >= 0:
        base = int(words[base_at])
        state.restoring += [base & ~(SIDE - 1) | min((base & (SIDE - 1)) + int(travelled), SIDE - 1)]


def _latest(there: NDArray[np.bool_], index: Array) -> Array:
    """At each word the place of the last one that is there, itself included; -1 before the first."""
    latest: Array = np.maximum.accumulate(np.where(there, index, -1))
    return latest


def _set_bits(masks: Array, width: int) -> tuple[Array, Array]:
    """For each set bit, from the lowest on: which mask it is in, and its place."""
    which, offsets = np.nonzero(masks[:, None] >> np.arange(width, dtype=masks.dtype) & 1)
    return which, offsets


def _events(t: Array, x: Array, y: Array, p: Array) -> Array:
    if len(x) and x.max() >= SIDE:
        raise ValueError(f"a vector reaches column {x.max()}; columns have 11 bits")
    events = np.empty(len(t), EVENT)
    events["t"], events["x"], events["y"], events["p"] = t, x, y, p
    return events
