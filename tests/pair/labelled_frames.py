"""Random frames, and what a model says of them, in a folder of each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]

SAMPLES = 200  # with fewer than 189 not even a model without flips could pass


def write_frames(folder: Path, frames: Frames, names: Sequence[str]) -> None:
    """Frames (n, h, w, 3), each in the folder of its class."""
    for index, (frame, name) in enumerate(zip(frames, names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        np.save(folder / name / f"{index}.npy", frame)


def draw(label: Callable[[NDArray[np.float32]], Sequence[str]], n: int = SAMPLES) -> tuple[Frames, Sequence[str]]:
    """Random frames and what a model says of them, except for one in eight."""
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (n, 4, 4, 3)).astype(np.uint8)
    names = list(label((frames / np.float32(255)).transpose(0, 3, 1, 2)))
    others = [names[(index + 1) % n] if rng.random() < 1 / 8 else name for index, name in enumerate(names)]
    return frames, others
