"""A minimal reader of the protobuf wire format: fields by number; large fields are skipped."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from advcal_edge.errors import EngineError

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
LONGEST_VARINT = 10
LONGEST_LENGTH = 5  # bytes of a varint that is a tag or a length
SIZES = {EIGHT_BYTES: 8, FOUR_BYTES: 4}

Span = tuple[int, int]
"""Start and end of a value; for a varint, twice the value itself."""


class Reader:
    """The bytes of an untrusted message; the number of fields it yields is limited to `fields` in all."""

    def __init__(self, data: bytes | memoryview, fields: int, where: str, hint: str) -> None:
        """Prepare to read up to `fields` fields of `data`, nested ones included; `where` and `hint` are for errors."""
        self._hint = hint
        self.data = data if isinstance(data, bytes) else memoryview(data).cast("B")
        self._most = self._left = fields
        self._where = where

    def fields(self, span: Span) -> Iterator[tuple[int, int, Span]]:
        """Number, wire type and span of each field of the message at `span`, in order.

        Raises:
            EngineError: it is truncated, not protobuf, or has too many fields.
        """
        data, (at, end) = self.data, span
        while at < end:
            tag = data[at]
            if tag < 128:
                at += 1
            else:
                tag, at = self._varint(at, end, LONGEST_LENGTH)
            number, wire = tag >> 3, tag & 7
            self._left -= 1
            if number == 0 or self._left < 0:
                raise self._broken("a field without a number" if number == 0 else f"more than {self._most:,} fields")
            size = data[at] if at < end and wire in (VARINT, BYTES) else 128
            if size < 128:  # nearly all are this short; inlined, since a call would take as long as the rest
                at += 1
            elif wire in (VARINT, BYTES):
                size, at = self._varint(at, end, LONGEST_VARINT if wire == VARINT else LONGEST_LENGTH)
            if wire == VARINT:
                yield number, wire, (size, size)
                continue
            if wire != BYTES:
                size = SIZES.get(wire, -1)
                if size < 0:
                    raise self._broken(f"a field of wire type {wire}")
            stop = at + size
            if stop > end:
                raise self._broken(f"a field of {size:,} bytes where {end - at:,} are left")
            yield number, wire, (at, stop)
            at = stop

    def text(self, span: Span) -> str:
        """A string.

        Raises:
            EngineError: it is not UTF-8.
        """
        try:
            return str(self.data[span[0] : span[1]], "utf-8")
        except UnicodeDecodeError as error:
            raise self._broken("a name that is no UTF-8") from error

    def integers(self, wire: int, span: Span) -> list[int]:
        """Signed 64-bit integers of one occurrence of a repeated field, packed or not.

        Raises:
            EngineError: truncated.
        """
        if wire == VARINT:
            return [signed(span[0])]
        values: list[int] = []
        at, end = span
        while at < end:
            value, at = self._varint(at, end, LONGEST_VARINT)
            values.append(signed(value))
        return values

    def numbers(self, form: str, span: Span) -> list[float]:
        """Packed little-endian numbers of fixed size; `form` as for `struct`."""
        size = struct.calcsize(form)
        count = (span[1] - span[0]) // size
        return list(struct.unpack_from(f"<{count}{form}", self.data, span[0]))

    def _varint(self, at: int, end: int, longest: int) -> tuple[int, int]:
        value, last = 0, min(end, at + longest)
        for shift, place in enumerate(range(at, last)):
            byte = self.data[place]
            value |= (byte & 127) << (7 * shift)
            if byte < 128:
                if value >> (32 if longest == LONGEST_LENGTH else 64):
                    break
                return value, place + 1
        raise self._broken("a number that is cut off or too long")

    def _broken(self, found: str) -> EngineError:
        return EngineError(
            f"{self._where} is no ONNX graph: {found}",
            hint=self._hint,
        )


def signed(value: int, bits: int = 64) -> int:
    """The lowest bits of an integer as a signed one; protobuf drops the others too."""
    value &= 2**bits - 1
    return value - 2**bits if value >= 2 ** (bits - 1) else value
