"""Sensor files of every modality."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random

from fuzz.archives import spoil_npy, spoil_zip
from fuzz.case import Action, Scene, Target
from fuzz.mutation import spoil, spoil_lines
from fuzz.poisons import CONTROLS, NUMBERS
from fuzz.sensor_files import BY_MODALITY

WORDS = (*map(str, NUMBERS), "nan", "-inf", "1e999", "", '"', "x", "٣", "0x1p3", *CONTROLS, "#", "1,2", "t", "ax")


def write_sensor(modality: str, scene: Scene) -> Sequence[Action]:
    """One file, read and made a tensor."""
    name = Path(scene.seed).name
    data = scene.source.read_bytes()
    if scene.spoilt:
        others = [(scene.corpus / "sensors" / other).read_bytes() for other in BY_MODALITY[modality]]
        data = spoil_sensor(name, data, scene.rng, others)
        if scene.rng.random() < 0.03:
            name = scene.rng.choice(("\x1b[2J.png", "a\nb.png", "\udc80.png", "-x.png", "\u202egnp.png"))
    (scene.folder / name).write_bytes(data)
    return (Action("sense", (modality, name), (name,)),)


def spoil_sensor(name: str, data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """A file, spoilt as its kind allows, or as any."""
    own = SPOILERS.get(Path(name).suffix)
    return spoil(data, rng, others) if own is None or rng.random() < 0.35 else own(data, rng)


def spoil_png(data: bytes, rng: Random) -> bytes:
    """A png with a changed chunk whose checksum is right, so that the decoder believes it."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return spoil(data, rng)
    which = rng.randrange(len(chunks)) if rng.random() < 0.6 else 0
    kind, content = chunks[which]
    change = rng.randrange(5)
    if change <= 2:
        chunks[which] = (kind, spoil(content, rng))
    elif change == 3:
        chunks.insert(
            which, (rng.choice((b"tRNS", b"PLTE", b"iCCP", b"acTL", b"eXIf", b"gAMA", b"IHDR", kind)), content)
        )
    else:
        chunks[which] = (kind, zlib.compress(bytes(rng.choice((10, 10**6)))))
    parts = (len(c).to_bytes(4, "big") + k + c + zlib.crc32(k + c).to_bytes(4, "big") for k, c in chunks)
    return data[:8] + b"".join(parts)


def spoil_table(data: bytes, rng: Random) -> bytes:
    """A table or header of text with other words in it; what follows in binary stays."""
    for end in (b"end_header\n", b"DATA binary\n", b"DATA binary_compressed\n"):
        if end in data:
            head, _, rest = data.partition(end)
            return spoil_lines((head + end).decode("latin1"), rng, WORDS).encode("utf-8", "replace") + rest
    return spoil_lines(data.decode("latin1"), rng, WORDS).encode("utf-8", "replace")


SPOILERS: dict[str, Callable[[bytes, Random], bytes]] = {
    ".npy": spoil_npy,
    ".png": spoil_png,
    ".csv": spoil_table,
    ".pcd": spoil_table,
    ".ply": spoil_table,
    ".off": spoil_table,
    ".obj": spoil_table,
    ".txt": spoil_table,
    ".npz": spoil_zip,
}

CASES = {"image": 200, "video": 60, "thermal": 80, "depth": 60, "range": 40, "audio": 100, "imu": 100, "event": 160,
         "point": 240}  # fmt: skip

TARGETS = tuple(
    Target(
        f"sensor-{modality}",
        tuple(f"sensors/{name}" for name in names),
        partial(write_sensor, modality),
        CASES[modality],
    )
    for modality, names in BY_MODALITY.items()
)
