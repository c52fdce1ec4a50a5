"""Names of file formats by their first bytes, for people; readers decide for themselves."""

from __future__ import annotations

from pathlib import Path

from advcal_edge.errors import InputError
from advcal_edge.limits import FILM_BYTES
from advcal_edge.runtime.sensors.files.sensor_file import HDF5, MAGIC_BYTES, NPY, open_sensor_file

STARTS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF, big-endian",
    NPY: "npy",
    b"PK\x03\x04": "npz",
    HDF5: "HDF5",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"\x1a\x45\xdf\xa3": "Matroska or WebM",
    b"\0\0\x01\xba": "MPEG program stream",
    b"\0\0\x01\xb3": "MPEG video",
    b"ply": "PLY",
    b"# .PCD": "PCD",
    b"VERSION": "PCD",
    b"OFF": "OFF mesh",
    b"LASF": "LAS",
    b"P5": "PGM",
    b"P6": "PPM",
    b"GIF8": "GIF",
}
INSIDE = {b"WEBP": "WebP", b"WAVE": "WAV", b"AVI ": "AVI"}
"""What follows the size in a RIFF file."""


def name_format(path: Path) -> str:
    """The format of a file by its first bytes; of an unreadable one nothing."""
    try:
        with open_sensor_file(path, FILM_BYTES) as file:
            magic = file.read(MAGIC_BYTES)
    except InputError:
        return ""
    if magic[:4] == b"RIFF":
        return INSIDE.get(magic[8:12], "RIFF")
    if magic[4:8] == b"ftyp":
        return f"MP4 or QuickTime, brand `{magic[8:12].decode('latin-1').strip()}`"
    for start, name in STARTS.items():
        if magic.startswith(start):
            return name
    if b"\0" not in magic and all(byte >= 32 or byte in b"\t\r\n" for byte in magic):
        return "text"
    return f"no known first bytes; the suffix is `{path.suffix}`" if path.suffix else "no known first bytes"
