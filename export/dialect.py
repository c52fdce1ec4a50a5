"""The kinds of graph an export writes, and the versions of ONNX's operators it writes them in."""

from __future__ import annotations

from typing import Literal

from advcal_edge.errors import ConfigError

Precision = Literal["fp32", "fp16", "int8"]
Kind = Literal["forward", "vjp"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")

OPSETS = range(18, 21)
"""LayerNormalization came with 17; above 20 TensorRT 10.3, which JetPack 6 carries, stops reading."""


def check_opset(opset: int) -> None:
    """Refuse an opset that not every target reads.

    Raises:
        ConfigError: outside 18 to 20.
    """
    if opset not in OPSETS:
        raise ConfigError(
            f"opset {opset} is not supported; expected {OPSETS[0]} to {OPSETS[-1]}",
            hint=f"leave it at the default, {OPSETS[-1]}",
        )
