"""A linear classifier as a graph of its logits, and as a graph of their gradient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from tiny import encode

SIZE, NAMES = 4, ("cat", "cup", "dog", "tree")
WEIGHTS = np.random.default_rng(5).standard_normal((3 * SIZE * SIZE, len(NAMES))).astype(np.float32)
BATCH: tuple[int | str, ...] = ("n", 3, SIZE, SIZE)


def logits(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, k) of x (n, 3, 4, 4)."""
    return (x - np.float32(0.5)).reshape(len(x), -1) @ WEIGHTS


def forward(weights: NDArray[np.float32] = WEIGHTS) -> bytes:
    """The graph x -> logits, which are not normalised."""
    nodes = [
        helper.make_node("Sub", ["x", "half"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "W"], ["z"]),
    ]
    constants = {"half": np.array(0.5, np.float32), "W": weights}
    return encode(nodes, {"x": BATCH}, {"z": ("n", weights.shape[1])}, constants, "fp32")


def backward(weights: NDArray[np.float32] = WEIGHTS) -> bytes:
    """The graph (x, v) -> (logits, J^T v)."""
    nodes = [
        helper.make_node("Sub", ["x", "half"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "W"], ["z"]),
        helper.make_node("MatMul", ["v", "WT"], ["df"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Reshape", ["df", "shape"], ["g"]),
    ]
    constants = {"half": np.array(0.5, np.float32), "W": weights, "WT": weights.T.copy()}
    width = ("n", weights.shape[1])
    return encode(nodes, {"x": BATCH, "v": width}, {"z": width, "g": BATCH}, constants, "fp32")


def renamed(*, last: bool = False) -> bytes:
    """The same graph as another program may have exported it: with other names, perhaps with channels last."""
    nodes = [
        helper.make_node("Transpose", ["pixel_values"], ["p"], perm=[0, 3, 1, 2] if last else [0, 1, 2, 3]),
        helper.make_node("Sub", ["p", "half"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "W"], ["logits"]),
    ]
    shape = ("n", SIZE, SIZE, 3) if last else BATCH
    constants = {"half": np.array(0.5, np.float32), "W": WEIGHTS}
    return encode(nodes, {"pixel_values": shape}, {"logits": ("n", len(NAMES))}, constants, "fp32")
