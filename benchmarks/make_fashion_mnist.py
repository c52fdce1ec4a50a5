"""Write the committed excerpt of Fashion-MNIST from the original files: `python benchmarks/make_fashion_mnist.py`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from fashion_mnist_files import DEBIAN, read_idx
from numpy.typing import NDArray

OUT = Path(__file__).parents[1] / "calibrate/data/builtin/fashion_mnist.npz"


def first_of_each_class(labels: NDArray[np.int64], per_class: int) -> NDArray[np.int64]:
    """Indices of the first `per_class` samples of each class, in file order."""
    rows = [np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate(rows))


def main() -> None:
    """Choose, then compress."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEBIAN, help="folder of the idx files")
    folder = parser.parse_args().data
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, per_class in (("train", 300), ("test", 100)):
        images, labels = read_idx(folder, "train" if split == "train" else "test")
        chosen = first_of_each_class(labels, per_class)
        arrays[f"{split}_images"] = images[chosen]
        arrays[f"{split}_labels"] = labels[chosen].astype(np.uint8)
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT.name}: {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
