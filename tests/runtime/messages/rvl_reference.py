"""RVL a digit at a time, by the words of Wilson, "Fast lossless depth image compression", 2017."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


def encode(depth: NDArray[np.uint16]) -> bytes:
    """The stream of an image."""
    return pack(digit for number in numbers(depth.reshape(-1).tolist()) for digit in digits(number))


def numbers(pixels: list[int]) -> Iterator[int]:
    """Holes, depths, then each depth's difference from the last one, with its sign in the lowest bit; and again."""
    at, last = 0, 0
    while at < len(pixels):
        start = at
        while at < len(pixels) and pixels[at] == 0:
            at += 1
        yield at - start
        start = at
        while at < len(pixels) and pixels[at] != 0:
            at += 1
        yield at - start
        for value in pixels[start:at]:
            change, last = value - last, value
            yield 2 * change if change >= 0 else -2 * change - 1


def digits(number: int) -> Iterator[int]:
    """Three bits at a time from below; the fourth says that more follow."""
    while True:
        low, number = number & 7, number >> 3
        yield low | 8 if number else low
        if not number:
            return


def pack(stream: Iterable[int]) -> bytes:
    """Eight digits in a word of 32 bits from the top, written little-endian."""
    packed, word, held = bytearray(), 0, 0
    for digit in stream:
        word, held = word << 4 | digit, held + 1
        if held == 8:
            packed += word.to_bytes(4, "little")
            word, held = 0, 0
    if held:
        packed += (word << 4 * (8 - held)).to_bytes(4, "little")
    return bytes(packed)
