"""npy arrays, the zip archives that hold them, and safetensors: headers that claim what is not there."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from random import Random
from typing import Any

from fuzz.documents import spelled, spoil_document
from fuzz.mutation import spoil
from fuzz.poisons import PATHS, TEXTS, poison

DESCRIPTIONS = ("|O", "<f8", "<f4", "<f2", ">f4", "<i8", "|b1", "|u1", "<u2", "<U100000000", "|S0", "<U0", "<c16",
                "<M8[s]", "|V8", "f4,O", "<f16", "", "i" * 5000, [("a", "<f4"), ("b", "|O")],
                [("x", "<f4", (1000, 1000))], {"names": [], "formats": []}, "__import__('os')", None, 7)  # fmt: skip
SHAPES = ((), (0,), (-1,), (1,), (2**31,), (2**62, 4), (10**30,), (0, 10**30), (True,), (1.5,), ("a",), None, 3,
          (2,) * 40, (1,) * 100, (1000, 1000, 1000), (12, 3, 8, 9), (13, 3, 8, 8))  # fmt: skip
HEADERS = ("{}", "()", "", "{'descr':" * 300, "(" * 5000, "1" * 5000, "__import__('os').system('x')", "{'shape': (1,)}")
METHODS = (0, 1, 8, 9, 12, 14, 93, 99)
MAGIC = b"\x93NUMPY"


def spoil_npy(data: bytes, rng: Random) -> bytes:
    """An npy array with another header, or spoilt bytes."""
    if rng.random() < 0.3 or not data.startswith(MAGIC):
        return spoil(data, rng)
    length = int.from_bytes(data[8:10], "little")
    content = data[10 + length :]
    text = data[10 : 10 + length].decode("latin1")
    change = rng.randrange(6)
    described = header_of(text)
    if change == 0:
        text = rng.choice(HEADERS)
    elif change <= 2 and described:
        text = repr({**described, "descr": rng.choice(DESCRIPTIONS)})
    elif change == 3 and described:
        text = repr({**described, "shape": rng.choice(SHAPES)})
    elif described:
        key = rng.choice(("descr", "shape", "fortran_order", "extra"))
        text = repr({**described, key: rng.choice((True, None, poison(rng)))})
    version = rng.choice(((1, 0), (1, 0), (1, 0), (2, 0), (3, 0), (9, 9)))
    raw = text.encode("utf-8", "surrogatepass") + b"\n"
    claimed = len(raw) if rng.random() < 0.9 else rng.choice((0, 1, len(raw) * 2, 2**16 - 1, 2**31))
    size = struct.pack("<H", claimed % 2**16) if version == (1, 0) else struct.pack("<I", claimed % 2**32)
    return MAGIC + bytes(version) + size + raw + content


def header_of(text: str) -> dict[str, Any]:
    """The header of an npy array, as a dictionary; empty where it is none."""
    import ast

    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {}
    return found if isinstance(found, dict) else {}


def spoil_zip(data: bytes, rng: Random) -> bytes:
    """An archive with spoilt members, or one that lies about them."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, ValueError):
        return spoil(data, rng)
    change = rng.randrange(10)
    at = rng.randrange(len(members))
    name, content = members[at]
    if change <= 3:
        spoilt = spoil_npy(content, rng) if content.startswith(MAGIC) else spoil(content, rng)
        members[at] = (name, spoilt)
    elif change == 4:
        members[at] = (rng.choice((*PATHS, *TEXTS))[:60000], content)
    elif change == 5:
        del members[at]
    elif change == 6:
        members.insert(rng.randrange(len(members) + 1), (name, spoil(content, rng)))
    elif change == 7:
        members[at] = (name, content[:128] + bytes(rng.choice((10**5, 10**7, 5 * 10**7))))
    packed = pack(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return spoil_directory(packed, rng) if change >= 8 else packed


def pack(members: list[tuple[str, bytes]], method: int) -> bytes:
    """A zip archive; two members may share a name, and names are written as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo("placeholder", (1980, 1, 1, 0, 0, 0))
            info.filename = name.encode("utf-8", "replace").decode("utf-8")
            info.compress_type = method
            archive.NameToInfo.pop(info.filename, None)  # a second member of that name is the point, and no warning
            archive.writestr(info, content)
    return buffer.getvalue()


def spoil_directory(data: bytes, rng: Random) -> bytes:
    """Sizes, method, flags or offsets of one member changed where the archive tells of them."""
    central = rng.random() < 0.7
    signature, base = (b"PK\x01\x02", 8) if central else (b"PK\x03\x04", 6)
    starts = [k for k in range(len(data) - 3) if data[k : k + 4] == signature]
    if not starts:
        return spoil(data, rng)
    start = rng.choice(starts)
    field = rng.choice(("flags", "method", "crc", "packed", "size", "name", "extra"))
    offset = {"flags": 0, "method": 2, "crc": 8, "packed": 12, "size": 16, "name": 20, "extra": 22}[field] + base
    narrow = field in ("flags", "method", "name", "extra")
    number = rng.choice(METHODS) if narrow else rng.choice((0, 1, 100, 10**6, 2**31, 2**32 - 2, 2**32 - 1))
    value = struct.pack("<H" if narrow else "<I", number)
    return data[: start + offset] + value + data[start + offset + len(value) :]


def spoil_safetensors(data: bytes, rng: Random) -> bytes:
    """A safetensors file with another header, or spoilt bytes."""
    if len(data) < 8 or rng.random() < 0.15:
        return spoil(data, rng)
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError:
        return spoil(data, rng)
    content = data[8 + length :]
    told = header.get("__metadata__", {})
    key = rng.choice(sorted(told)) if told else None
    if key is not None and rng.random() < 0.6 and told[key][:1] == "{":  # a document inside the header: ours
        inner = spelled(spoil_document(json.loads(told[key]), rng), rng)
        header = {**header, "__metadata__": {**told, key: inner.decode("utf-8", "replace")}}
        raw = json.dumps(header).encode("utf-8")
    else:
        raw = spelled(spoil_document(header, rng), rng)
    claimed = len(raw) if rng.random() < 0.9 else rng.choice((0, 2**31, 2**63, 2**64 - 1, len(raw) + 1))
    return struct.pack("<Q", claimed) + raw + content
