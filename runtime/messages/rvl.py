"""RVL, the lossless coding of depth in ROS's compressedDepth.

Wilson, "Fast lossless depth image compression", ISS 2017: runs of holes and of depths alternate; each depth is its
difference from the last one, folded to be positive; every number is written in digits of three bits, lowest first,
with a fourth bit that says whether more follow; eight such digits fill a little-endian word, highest first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEEPEST = 2**16 - 1
LONGEST = 10
"""Digits of a number: 30 bits, more than the pixels of any image."""


def decode_rvl(data: NDArray[np.uint8], count: int) -> NDArray[np.uint16]:
    """The `count` depths (count,) in a stream of RVL; holes are 0.

    Raises:
        ValueError: it ends too early, or holds what no encoder writes.
    """
    numbers = _read_numbers(data)
    steps = np.zeros(count, np.int64)
    present = np.zeros(count, np.bool_)
    at = done = 0
    while done < count:
        if at + 2 > len(numbers):
            raise ValueError(f"it ends after {done} of {count} pixels")
        holes, depths = int(numbers[at]), int(numbers[at + 1])
        first, at = done + holes, at + 2
        done = first + depths
        if done > count or holes + depths == 0:
            raise ValueError(f"a run of {holes} holes and {depths} depths after {first - holes} of {count} pixels")
        if at + depths > len(numbers):
            raise ValueError(f"it ends after {first + len(numbers) - at} of {count} pixels")
        steps[first:done] = numbers[at : at + depths]
        present[first:done] = True
        at += depths
    changes = (steps[present] >> 1) ^ -(steps[present] & 1)
    depth = np.cumsum(changes)
    if depth.size and not (depth.min() >= 1 and depth.max() <= DEEPEST):
        raise ValueError(f"depths from {depth.min()} to {depth.max()}; expected 1 to {DEEPEST}")
    pixels = np.zeros(count, np.uint16)
    pixels[present] = depth
    return pixels


def _read_numbers(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    """All numbers of a stream; digits of one that does not end are left out."""
    words = np.ascontiguousarray(data[: data.size - data.size % 4]).reshape(-1, 4)[:, ::-1]
    digits = np.stack([words >> 4, words & 15], axis=2).reshape(-1)
    ends = np.flatnonzero(digits < 8)
    if not len(ends):
        return np.empty(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = digits[: ends[-1] + 1]
    lengths = ends - starts + 1
    if lengths.max() > LONGEST:
        raise ValueError(f"a number of {lengths.max()} digits; expected at most {LONGEST}")
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    numbers: NDArray[np.int64] = np.add.reduceat((digits & 7).astype(np.int64) << (3 * place), starts)
    return numbers
