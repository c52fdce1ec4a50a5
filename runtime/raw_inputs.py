"""Raw frames as the tensors of a server: their names, types and axes for each sensor, and the way back to frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import Frame, Recording

ANY = -1
"""Length of an axis that each frame sets."""
RATE = "rate"
"""Name of the input with the samples or frames a second of each recording, float64 (n, 1)."""


@dataclass(frozen=True, slots=True)
class RawInputs:
    """What a server takes of a sensor: one of several tensors, since their type tells counts from degrees."""

    shape: tuple[int, ...]
    """Axes of one frame; `ANY` where the frame sets the length."""
    dtypes: tuple[str, ...]
    """The types that frames of this sensor have, by numpy's names."""
    timed: bool = False
    """Is a frame a recording, with its rate beside it?"""

    @property
    def names(self) -> dict[str, str]:
        """Name of each input, and its type; a request holds one of them."""
        return {f"frame_{dtype}": dtype for dtype in self.dtypes}

    def frames(self, given: Mapping[str, NDArray[Any]]) -> list[Frame]:
        """The frames of a request: one tensor (n, *shape), for recordings with `rate` (n, 1).

        Raises:
            InputError: none or several of the tensors, another number of rates than of frames, or no frame.
        """
        sent = [name for name in self.names if name in given]
        if len(sent) != 1:
            raise InputError(
                f"the request holds {' and '.join(f'`{name}`' for name in sent) or 'no frame'};"
                f" expected exactly one of {', '.join(f'`{name}`' for name in self.names)}",
                hint="send the frame as the input of its type",
            )
        batch = given[sent[0]]
        if not len(batch):
            raise InputError(f"`{sent[0]}` holds no frame; expected one or more")
        if not self.timed:
            return list(batch)
        rates = given.get(RATE, np.zeros((len(batch), 1)))  # 0: the sensor says whether it needs one
        if rates.size != len(batch):
            raise InputError(f"`{RATE}` holds {rates.size} rates for {len(batch)} recordings; expected one for each")
        return [Recording(values, float(rate)) for values, rate in zip(batch, rates.ravel(), strict=True)]


RAW_INPUTS: Mapping[str, RawInputs] = {
    "image": RawInputs((ANY, ANY, ANY), ("uint8", "uint16")),
    "video": RawInputs((ANY, ANY, ANY, 3), ("uint8",), timed=True),
    "thermal": RawInputs((ANY, ANY), ("uint8", "uint16", "int16", "float32")),
    "depth": RawInputs((ANY, ANY), ("uint16", "float32")),
    "range": RawInputs((ANY, ANY), ("uint16", "float32")),
    "audio": RawInputs((ANY, ANY), ("int16", "float32"), timed=True),
    "imu": RawInputs((6, ANY), ("float32", "float64"), timed=True),
    "event": RawInputs((ANY, 4), ("float64",)),
    "point": RawInputs((ANY, ANY), ("float32",)),
}
"""By `Modality.preprocess`."""
