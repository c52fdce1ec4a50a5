"""What the headers of WAV, AIFF and CAF say of their samples, and whether it goes together.

libsndfile believes one field and passes over the others: a header with one wrong bit gives another rate or length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Order = Literal["little", "big"]

PLAIN = (1, 3, 6, 7)
"""Tags of WAV formats in which a block is one sample of all channels: integers, floats, A-law, mu-law."""

TAGS = {2: "MS ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x40: "G.721", 0x50: "MPEG layer II", 0x55: "MP3",
        0x92: "AC-3", 0xFF: "AAC", 0x160: "WMA", 0x161: "WMA", 0x162: "WMA", 0x2001: "DTS", 0x706D: "AAC"}  # fmt: skip
"""Names of other tags."""

PLAIN_AIFF = (b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64")


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says of the samples."""

    block: int = 0
    """Bytes of one sample of all channels; 0 if the codec packs several, or if they are not known."""
    lead: int = 0
    """Bytes in the chunk of samples before the first of them."""
    codec: str = ""
    """The codec, if it packs samples."""
    samples: int | None = None
    """Number of samples of each channel, where it is said."""
    fault: str = ""
    """What does not go together."""


UNSAID = Header()


def read_header(chunks: Mapping[bytes, bytes], order: Order) -> Header:
    """What the first bytes of a file's chunks say, by their names of four bytes."""
    if b"fmt " in chunks:
        return _read_fmt(chunks[b"fmt "], order)
    if b"COMM" in chunks:
        return _read_comm(chunks[b"COMM"])
    if b"desc" in chunks:
        return _read_desc(chunks[b"desc"], chunks.get(b"pakt", b""))
    return UNSAID


def _read_fmt(body: bytes, order: Order) -> Header:
    """WAVEFORMATEX: tag, channels, rate, bytes a second and a block, bits; the extensible one has its tag behind."""
    tag, channels, block, bits = (int.from_bytes(body[at : at + 2], order) for at in (0, 2, 12, 14))
    rate, each_second = (int.from_bytes(body[at : at + 4], order) for at in (4, 8))
    if tag == 0xFFFE:
        tag = int.from_bytes(body[24:26], order)
    if tag not in PLAIN:
        return Header(codec=TAGS.get(tag, f"codec {tag:#06x}"))
    fault = ""
    if block != channels * -(-bits // 8):
        fault = f"{channels} channels of {bits} bits are not {block} bytes a sample"
    elif each_second not in (0, rate * block):
        fault = f"{rate} samples a second of {block} bytes are not {each_second} bytes a second"
    return Header(block, fault=fault)


def _read_comm(body: bytes) -> Header:
    """AIFF: channels, samples, bits, rate as a float of 80 bits; in AIFC a codec behind."""
    channels, bits = (int.from_bytes(body[at : at + 2], "big") for at in (0, 6))
    codec = body[18:22]
    if codec and codec not in PLAIN_AIFF:
        return Header(lead=8, codec=codec.decode("latin1").strip())
    return Header(channels * -(-bits // 8), 8, samples=int.from_bytes(body[2:6], "big"))


def _read_desc(body: bytes, packets: bytes) -> Header:
    """CAF: rate, codec, flags, bytes and samples of a packet; a table of packets says how many samples are valid."""
    codec, block, each = body[8:12], int.from_bytes(body[16:20], "big"), int.from_bytes(body[20:24], "big")
    plain = each == 1 and block
    samples = int.from_bytes(packets[8:16], "big") if len(packets) >= 16 and not plain else None
    return Header(block if plain else 0, 4, "" if codec == b"lpcm" else codec.decode("latin1").strip(), samples)
