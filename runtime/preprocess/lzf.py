"""The LZF compression of binary_compressed point clouds; the format is that of Marc Lehmann's liblzf."""

from __future__ import annotations


def decompress(data: bytes | memoryview, size: int) -> bytearray:
    """Exactly `size` bytes out of a compressed block.

    Raises:
        ValueError: the block is broken, or holds more or less than that.
    """
    out = bytearray()
    at = 0
    try:
        while at < len(data):
            control = data[at]
            at += 1
            if control < 32:  # a run of literal bytes
                run = data[at : at + control + 1]
                if len(run) != control + 1:
                    raise ValueError("it ends within a run")
                out += run
                at += control + 1
            else:  # a copy of bytes that came before
                length = control >> 5
                if length == 7:
                    length += data[at]
                    at += 1
                start = len(out) - ((control & 31) << 8) - data[at] - 1
                at += 1
                length += 2
                if start < 0:
                    raise ValueError("it refers to bytes before its start")
                seen = out[start : start + length]  # shorter than the copy where the two overlap: then it repeats
                out += (seen * (length // len(seen) + 1))[:length]
            if len(out) > size:
                raise ValueError(f"it holds more than {size} bytes")
    except IndexError:
        raise ValueError("it ends within a copy") from None
    if len(out) != size:
        raise ValueError(f"it holds {len(out)} bytes; expected {size}")
    return out
