"""Frames from a pipe, one behind the other: .npy arrays as `numpy.save` writes them, PNG and JPEG pictures.

Nothing is between them; each says how long it is. Kinds may be mixed. What does not begin as one of the three ends the
stream with an error, since nothing tells where the next frame begins.
"""

from __future__ import annotations

import io
import math
import os
import select
import struct
import threading
from collections.abc import Generator
from pathlib import Path

import numpy as np

from advcal_edge.errors import InputError
from advcal_edge.limits import SENSOR_BYTES
from advcal_edge.npy_header import HEADER_BYTES, read_header
from advcal_edge.runtime.sensors.files.image_file import decode_image
from advcal_edge.runtime.sensors.files.sensor_file import AGAIN, NPY
from advcal_edge.runtime.sensors.frame import Array, Frame, Recording
from advcal_edge.runtime.sensors.thermal import refuse_radiometric
from advcal_edge.runtime.sources import POLL
from advcal_edge.spec import Modality

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
LONGEST_MAGIC = 8
CHUNK = 2**20
HOW = "`numpy.save(sys.stdout.buffer, frame)` writes one; so do `ffmpeg -f image2pipe -c:v png -` and `-c:v mjpeg -`"


class _EndError(Exception):
    """The pipe ends here, or is left."""


class PipedFrames:
    """Frames from a file descriptor, 0 being the standard input; `rate` makes recordings of arrays.

    A frame that cannot be read is an `InputError` among the items. `stop` ends the iteration, also while it waits.
    """

    live = False
    """What writes into a pipe can wait."""

    def __init__(self, modality: Modality, descriptor: int = 0, rate: float | None = None) -> None:
        self._modality, self._descriptor, self._rate = modality, descriptor, rate
        self._held = bytearray()
        self._number = 0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the iteration."""
        self._stopped.set()

    def __iter__(self) -> Generator[Frame | InputError, None, None]:
        """Read until the other end closes the pipe.

        Raises:
            InputError: what comes is no frame, or is larger than a frame may be.
        """
        while self._has(1):
            try:
                item = self._next()
            except _EndError:
                if not self._stopped.is_set():
                    yield InputError(f"{self._where()} is cut off: the input ends within it", hint=AGAIN)
                return
            yield item
            self._number += 1

    def _next(self) -> Frame | InputError:
        self._has(LONGEST_MAGIC)
        head = bytes(self._held[:LONGEST_MAGIC])
        if head.startswith(NPY):
            return self._array()
        if not head.startswith((PNG, JPEG)):
            if NPY.startswith(head) or PNG.startswith(head) or JPEG.startswith(head):
                raise _EndError
            raise InputError(
                f"{self._where()} begins with {head!r}; expected an .npy array, a PNG or a JPEG right after the last",
                hint=HOW,
            )
        data = self._take(self._png_bytes() if head.startswith(PNG) else self._jpeg_bytes())
        try:
            picture = decode_image(data, Path(f"frame {self._number} of the input"))
            if self._modality.preprocess == "thermal":
                refuse_radiometric(picture, f"frame{self._number}.jpg", self._modality)
        except InputError as error:
            return error
        return picture.values

    def _array(self) -> Frame | InputError:
        self._need(12)
        wide = self._held[6] != 1
        size = int.from_bytes(self._held[8 : 12 if wide else 10], "little")
        if size > HEADER_BYTES:
            raise self._no_array(f"it has a header of {size} bytes")
        self._need(size + (12 if wide else 10))
        header = io.BytesIO(self._held)
        try:
            shape, dtype, turned = read_header(header)
        except (TypeError, ValueError) as error:
            raise self._no_array(str(error)) from error
        begin, content = header.tell(), math.prod(shape) * dtype.itemsize
        SENSOR_BYTES.check(content, self._where(), InputError)
        values: Array = np.frombuffer(self._take(begin + content), dtype, offset=begin)
        values = values.reshape(shape, order="F" if turned else "C")
        return values if self._rate is None else Recording(values, self._rate)

    def _png_bytes(self) -> int:
        at = len(PNG)
        while True:
            self._need(at + 8)
            length, kind = struct.unpack_from(">I4s", self._held, at)
            at += 12 + int(length)
            SENSOR_BYTES.check(at, self._where(), InputError)
            if kind == b"IEND":
                return at

    def _jpeg_bytes(self) -> int:
        at = 2
        while True:
            self._need(at + 2)
            lead, marker = self._held[at], self._held[at + 1]
            if lead != 0xFF or 0 < marker < 0xC0:
                raise InputError(f"{self._where()} is a JPEG whose segments do not follow each other", hint=AGAIN)
            if marker == 0xD9:
                return at + 2
            if marker == 0xFF:  # padding
                at += 1
            elif marker == 0 or 0xD0 <= marker <= 0xD8:  # within values
                at = self._next_marker(at + 2)
            else:
                self._need(at + 4)
                at += 2 + int.from_bytes(self._held[at + 2 : at + 4], "big")
                at = self._next_marker(at) if marker == 0xDA else at

    def _next_marker(self, at: int) -> int:
        """Place of the first byte 0xFF from `at` on: values lie between markers."""
        while (found := self._held.find(0xFF, at)) < 0:
            at = len(self._held)
            SENSOR_BYTES.check(at, self._where(), InputError)
            self._need(at + 1)
        return found

    def _need(self, count: int) -> None:
        """Hold `count` bytes.

        Raises:
            _EndError: the input ends before.
        """
        if not self._has(count):
            raise _EndError

    def _has(self, count: int) -> bool:
        while len(self._held) < count:
            if self._stopped.is_set():
                return False
            if not select.select([self._descriptor], [], [], POLL)[0]:
                continue
            chunk = os.read(self._descriptor, CHUNK)
            if not chunk:
                return False
            self._held += chunk
        return True

    def _take(self, count: int) -> bytes:
        self._need(count)
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    def _where(self) -> str:
        return f"frame {self._number} of the input"

    def _no_array(self, why: str) -> InputError:
        return InputError(f"{self._where()} is no readable .npy array: {why}", hint=HOW)
