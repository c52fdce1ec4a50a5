"""The kinds of graph that an export writes, and their ONNX opsets."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from advcal_edge.errors import ConfigError
from advcal_edge.precision import PRECISIONS

Kind = Literal["forward", "vjp"]

OPSETS = range(18, 21)
"""LayerNormalization needs 17; TensorRT 10.3, part of JetPack 6, reads up to 20."""


def check_opset(opset: int, precisions: Collection[str] = ()) -> None:
    """Refuse an opset that some target cannot read, or that lacks the types of one of `precisions`.

    Raises:
        ConfigError: outside 18 to 20, or too old for a precision.
    """
    if opset not in OPSETS:
        raise ConfigError(
            f"opset {opset} is not supported; expected {OPSETS[0]} to {OPSETS[-1]}",
            hint=f"leave it at the default, {OPSETS[-1]}",
        )
    for name in precisions:
        if name in PRECISIONS and opset < PRECISIONS[name].opset:
            first = PRECISIONS[name].opset
            raise ConfigError(
                f"`--precision {name}` and `--opset {opset}` exclude each other: its types came with opset {first}",
                hint=f"leave out `--opset`, or ask for `--opset {first}`",
            )
