"""Arrays from .npy files: what the header claims is compared with the file before memory is taken."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from advcal_edge.errors import InputError
from advcal_edge.npy_header import read_header
from advcal_edge.runtime.preprocess.frame import Array
from advcal_edge.runtime.preprocess.sensor_file import AGAIN


def read_npy(file: BinaryIO, path: Path) -> Array:
    """The array in an open .npy file, its position at the start.

    Raises:
        InputError: a header that numpy did not write, an array of Python objects, or one larger than the file.
    """
    try:
        shape, dtype, turned = read_header(file)
        needed = math.prod(shape) * dtype.itemsize
        left = os.fstat(file.fileno()).st_size - file.tell()
        if needed > left:
            raise ValueError(f"it claims {dtype} {shape}, {needed:,} bytes, and has {left:,} of them")
        data = np.fromfile(file, np.uint8, needed)
        if len(data) != needed:
            raise ValueError("it became shorter while it was read")
        return data.view(dtype).reshape(shape, order="F" if turned else "C")
    except (TypeError, ValueError, MemoryError) as error:
        raise InputError(
            f"`{path}` is no readable .npy array: {error}",
            hint=f"write it with `numpy.save`; if that wrote it, {AGAIN}",
        ) from error
