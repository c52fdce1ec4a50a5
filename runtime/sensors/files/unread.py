"""Formats that robots and phones write and that are not read here, each named with the way in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from advcal_edge.runtime.sensors.files.avif import HEIF, brand
from advcal_edge.runtime.sensors.files.sensor_file import quoted


@dataclass(frozen=True, slots=True)
class Format:
    """Name of a format, how a file of it begins, and the command that converts one; `{}` is the file."""

    name: str
    begins: tuple[bytes, ...]
    way_in: str


FORMATS = (
    Format("a JPEG XL picture", (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "`djxl {} frame.png` converts it"),
    Format("a JPEG 2000 picture", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
           "`opj_decompress -i {} -o frame.png` converts it"),
    Format("an OpenEXR picture", (b"\x76\x2f\x31\x01",), "`oiiotool {} -o frame.tiff` writes its floats as a tiff"),
    Format("a FLIR recording (SEQ, CSQ or FFF)", (b"FFF\0", b"AFF\0"),
           "`exiftool -b -RawThermalImage {} > raw.png` takes out the first frame's counts; declare"
           " `input.kelvin_per_count=raw` for them, and `input.byte_order=swapped` if they are refused without"),
    Format("a Canon raw file (CR2 or CR3)", (b"II*\0\x10\0\0\0CR", b"\0\0\0\x18ftypcrx "),
           "`dcraw_emu -T -4 {}` of LibRaw develops it"),
    Format("a Radiance picture (HDR)", (b"#?RADIANCE", b"#?RGBE"), "`ffmpeg -i {} frame.png` converts it"),
    Format("a Photoshop file", (b"8BPS",), "`ffmpeg -i {} frame.png` converts it"),
    Format("a bitmap, or PAM, of Netpbm", (b"P1", b"P4", b"P7"), "`ffmpeg -i {} frame.png` converts it"),
    Format("a FITS file", (b"SIMPLE  =",), "save the array of its first HDU with `numpy.save`"),
    Format("an HDF5 file", (b"\x89HDF\r\n\x1a\n",), "save one of its arrays with `numpy.save`"),
    Format("a MATLAB file", (b"MATLAB 5.0",), "save one of the arrays of `scipy.io.loadmat` with `numpy.save`"),
    Format("a gzip archive", (b"\x1f\x8b",), "`gunzip {}` unpacks it"),
    Format("a PDF document", (b"%PDF-",), "`pdfimages -png {} page` takes out its pictures"),
    Format("an svg or another text in XML", (b"<?xml", b"<svg"), "`rsvg-convert -o frame.png {}` draws it"),
)  # fmt: skip

HEIC = "`heif-convert {} frame.png` of libheif converts it"
FILM = "`ffmpeg -i {} frame%05d.png` writes each frame to a file of its own"


def name_format(data: bytes, path: Path) -> tuple[str, str] | None:
    """Name of the format of a file that is not read, and how to get a picture out of it; None if it is unknown."""
    for form in FORMATS:
        if data.startswith(form.begins):
            return form.name, form.way_in.format(quoted(path))
    first = brand(data)
    if first in HEIF:
        return "a HEIC picture", HEIC.format(quoted(path))
    if first or data.startswith(b"\x1a\x45\xdf\xa3") or (data[:4] == b"RIFF" and data[8:12] == b"AVI "):
        return "a film", FILM.format(quoted(path))
    if data[128:132] == b"DICM":
        return "a DICOM file", f"`dcmj2pnm +on {quoted(path)} frame.png` converts it"
    return None
