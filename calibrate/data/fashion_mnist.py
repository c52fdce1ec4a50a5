"""A committed excerpt of Fashion-MNIST: 3,000 training and 1,000 test images, classes equally often.

Images by Zalando Research (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747), MIT license. The excerpt is the first
n / 10 images of each class in file order; `benchmarks/make_fashion_mnist.py` makes it from the original files.
"""

from __future__ import annotations

import io
from importlib import resources
from typing import Literal

import numpy as np

from advcal_edge.calibrate.data.samples import Samples

NAMES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def fashion_mnist(split: Literal["train", "test"]) -> Samples:
    """The excerpt's 3,000 training or 1,000 test images, grey uint8 (28, 28).

    The bindlite image trunk has seen all 60,000 training images and no test image.
    """
    data = resources.files(__package__).joinpath("fashion_mnist.npz").read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    return Samples(tuple(images), labels.astype(np.int64), NAMES, f"Fashion-MNIST {split} excerpt", "MIT")
