"""How an engine that another program exported takes its input, and which of its outputs is the embedding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose

LAYOUTS: Mapping[str, bool] = {"nchw": False, "nhwc": True}
"""Is the channel axis the last one, by the name of the layout?"""


@dataclass(frozen=True, slots=True)
class Interface:
    """What cannot be read from an engine made by others; the defaults take what its declared shapes leave no doubt of.

    Raises:
        ConfigError: an unknown layout, or a scale that is not a positive number.
    """

    output: str | None = None
    """Name of the output with the embeddings; None if only one of them can be it."""
    layout: str | None = None
    """`nchw`, the order of the bundle's axes, or `nhwc`, with the channels last; None if the shapes tell."""
    scale: float = 1.0
    """Factor for x before it is handed over; an integer input takes the rounded product."""

    def __post_init__(self) -> None:
        if self.layout is not None:
            choose("layout", self.layout, LAYOUTS)
        if not 0 < self.scale < math.inf:
            raise ConfigError(
                f"`--scale` is {self.scale:g}; expected a positive number",
                hint="for pixels from 0 to 255: `--scale 255`",
            )


AS_DECLARED = Interface()
