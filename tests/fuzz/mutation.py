"""Bytes and texts, spoilt without knowing what they mean: flips, cuts, splices, numbers swapped for others."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random

from fuzz.poisons import CONTROLS

INTERESTING = (0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
               2**63 - 1, 2**63, 2**64 - 1, 10**6, 10**9)  # fmt: skip

ASCII_NUMBERS = (b"0", b"-1", b"1", b"2", b"65536", b"2147483648", b"4294967296", b"9223372036854775808", b"1e9",
                 b"1e308", b"1e999", b"nan", b"-inf", b"1" * 5000, b"0x7f", b"", b"1.5", b"-0", b"1_0")  # fmt: skip

HEAD = 256
"""Half of all positions lie in the first bytes, where headers are."""


def spoil(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """One to four random changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        data = rng.choice(CHANGES)(data, rng) if not others or rng.random() < 0.9 else splice(data, rng, others)
    return data


def place(data: bytes, rng: Random) -> int:
    """A position, more often near the beginning or the end."""
    size = len(data)
    draw = rng.random()
    if draw < 0.4:
        return rng.randrange(min(size, HEAD) + 1)
    if draw < 0.55:
        return size - rng.randrange(min(size, HEAD) + 1)
    return rng.randrange(size + 1)


def flip_bit(data: bytes, rng: Random) -> bytes:
    """One bit."""
    at = min(place(data, rng), len(data) - 1)
    return data if at < 0 else data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def set_bytes(data: bytes, rng: Random) -> bytes:
    """A run of equal bytes."""
    at = place(data, rng)
    run = bytes([rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))]) * rng.choice((1, 1, 2, 4, 16))
    return data[:at] + run + data[at + len(run) :]


def truncate(data: bytes, rng: Random) -> bytes:
    """Only the beginning."""
    return data[: place(data, rng)]


def delete(data: bytes, rng: Random) -> bytes:
    """Without a slice in the middle."""
    at = place(data, rng)
    return data[:at] + data[at + rng.choice((1, 1, 4, 16, 100, 1000)) :]


def duplicate(data: bytes, rng: Random) -> bytes:
    """A slice twice, or some hundred times."""
    at = place(data, rng)
    part = data[at : at + rng.choice((1, 4, 16, 64, 1024))]
    return data[:at] + part * rng.choice((2, 2, 2, 300)) + data[at + len(part) :]


def insert(data: bytes, rng: Random) -> bytes:
    """Random bytes, or characters that a terminal obeys."""
    at = place(data, rng)
    new = rng.choice((rng.randbytes(rng.choice((1, 4, 64))), rng.choice(CONTROLS).encode()))
    return data[:at] + new + data[at:]


def swap_number(data: bytes, rng: Random) -> bytes:
    """A binary number of 8 to 64 bits, in either order."""
    kind = rng.choice(("B", "H", "I", "I", "Q"))
    order = rng.choice("<>")
    at = place(data, rng)
    value = rng.choice(INTERESTING) if rng.random() < 0.8 else len(data) + rng.choice((-1, 0, 1))
    number = struct.pack(order + kind, value % 2 ** (8 * struct.calcsize(kind)))
    return data[:at] + number + data[at + len(number) :]


def nudge_number(data: bytes, rng: Random) -> bytes:
    """A binary number that is one more, one less, or many times what it was."""
    kind = rng.choice(("H", "I", "Q"))
    order = rng.choice("<>")
    size = struct.calcsize(kind)
    at = place(data, rng)
    if at + size > len(data):
        return data
    (value,) = struct.unpack_from(order + kind, data, at)
    changed = rng.choice((value + 1, value - 1, value * 2, value * 1000, value // 2)) % 2 ** (8 * size)
    return data[:at] + struct.pack(order + kind, changed) + data[at + size :]


def swap_digits(data: bytes, rng: Random) -> bytes:
    """A number in ASCII, of the first few hundred or of all."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[: rng.choice((1000, 20_000))]))
    if not found:
        return swap_number(data, rng)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(ASCII_NUMBERS) + data[match.end() :]


def splice(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """The beginning of one file and the end of another."""
    other = rng.choice(others)
    return data[: place(data, rng)] + other[place(other, rng) :]


def spoil_lines(text: str, rng: Random, words: Sequence[str]) -> str:
    """A text whose lines are repeated, lost, swapped, or take a word that does not belong there."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines)) if lines else 0
        change = rng.randrange(7)
        if not lines or change == 0:
            lines.insert(at, rng.choice(words))
        elif change == 1:
            lines[at : at + 1] = [lines[at]] * rng.choice((2, 200))
        elif change == 2:
            del lines[at]
        elif change == 3:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            cells = re.split(r"([,=\s]+)", lines[at])
            cells[rng.randrange(len(cells))] = rng.choice(words)
            lines[at] = "".join(cells)
    return "\n".join(lines)


CHANGES: Sequence[Callable[[bytes, Random], bytes]] = (
    flip_bit, flip_bit, set_bytes, truncate, delete, duplicate, insert, swap_number, swap_number, nudge_number,
    swap_digits, swap_digits,
)  # fmt: skip
