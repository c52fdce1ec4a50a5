"""The kinds of graph an export writes, and the versions of ONNX's operators it writes them in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from advcal_edge.errors import ConfigError

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Kind = Literal["forward", "vjp"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8", "fp8")

DEFAULT_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
"""What is written unless asked: what ONNX Runtime has products for on every machine."""

OPSETS = range(18, 21)
"""LayerNormalization came with 17; above 20 TensorRT 10.3, which JetPack 6 carries, stops reading."""

FP8_OPSET = 19
"""QuantizeLinear takes float8 since."""


def check_opset(opset: int, precisions: Collection[str] = ()) -> None:
    """Refuse an opset that not every target reads, or that lacks the types of one of `precisions`.

    Raises:
        ConfigError: outside 18 to 20, or 18 together with fp8.
    """
    if opset not in OPSETS:
        raise ConfigError(
            f"opset {opset} is not supported; expected {OPSETS[0]} to {OPSETS[-1]}",
            hint=f"leave it at the default, {OPSETS[-1]}",
        )
    if "fp8" in precisions and opset < FP8_OPSET:
        raise ConfigError(
            f"`--precision fp8` and `--opset {opset}` exclude each other: float8 came with opset {FP8_OPSET}",
            hint=f"leave out `--opset`, or ask for `--opset {FP8_OPSET}`",
        )
