"""Read the original Fashion-MNIST files (idx, gzip), as Debian's package `dataset-fashion-mnist` installs them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PREFIX = {"train": "train", "test": "t10k"}


def read_idx(folder: Path, split: Literal["train", "test"]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images (n, 28, 28) and labels (n,) of a split."""
    images = _idx(folder / f"{PREFIX[split]}-images-idx3-ubyte.gz")
    labels = _idx(folder / f"{PREFIX[split]}-labels-idx1-ubyte.gz")
    return images, labels.astype(np.int64)


def _idx(path: Path) -> NDArray[np.uint8]:
    data = gzip.decompress(path.read_bytes())
    dimensions = np.frombuffer(data, ">i4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(dimensions)
