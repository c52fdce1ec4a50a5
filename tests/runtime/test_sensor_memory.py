"""Small files that claim, or unpack to, much: what reading one takes is bounded by the file and the limits."""

from __future__ import annotations

import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

MIB = 2**20

READ = """
import resource, sys, warnings
import h5py, soundfile
from advcal_edge import spec
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import preprocess_clips, read_frame
warnings.simplefilter("error")
name, path = sys.argv[1:]
modality = {"audio": spec.audio(16, 40), "imu": spec.imu(64, 50.0), "point": spec.point(8)}.get(name)
modality = modality or getattr(spec, name)(8)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
try:
    preprocess_clips(modality, read_frame(path, modality))
    print(peak() - before, "taken")
except InputError as error:
    print(peak() - before, error.message, "hint:", error.hint)
"""


def read(modality: str, path: Path) -> tuple[int, str]:
    """Bytes by which the peak of a process rose, and what the file was found to be."""
    done = subprocess.run([sys.executable, "-c", READ, modality, str(path)], capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if not line.startswith("libpng")] == []
    rise, _, found = done.stdout.partition(" ")
    return int(rise) * 1024, found


def npy(header: bytes, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header


def npy_of_terabytes(path: Path) -> None:
    path.write_bytes(npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }\n") + bytes(4096))


def npy_with_a_huge_header(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\x02\0" + struct.pack("<I", 2**32 - 1) + b"(" * 20 * MIB)


def npy_of_nested_headers(path: Path) -> None:
    path.write_bytes(npy(b"{'descr': " + b"[" * 9000 + b"]" * 900 + b"}"))


@cache
def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_of_gigabytes(path: Path) -> None:
    path.write_bytes(png(50_000, 50_000, bomb(256 * MIB)))


def png_with_more_than_it_claims(path: Path) -> None:
    path.write_bytes(png(8, 8, bomb(256 * MIB)))


def png_whose_chunk_claims_gigabytes(path: Path) -> None:
    whole = png(8, 8, zlib.compress(bytes(8 * 9)))
    path.write_bytes(whole[:33] + struct.pack(">I", 2**31 - 1) + whole[37:])


def png_with_a_text_bomb(path: Path) -> None:
    whole = png(8, 8, zlib.compress(bytes(8 * 9)))
    body = b"Comment\0\0" + bomb(256 * MIB)
    text = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    path.write_bytes(whole[:33] + text + whole[33:])


def tiff_of_doubles(path: Path) -> None:
    tags = [(256, 8000), (257, 8000), (258, 64), (259, 5), (262, 1), (273, 8), (277, 4), (278, 8000), (279, 16)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", 24) + bytes(16) + struct.pack("<H", len(tags)) + entries + bytes(4))


def hdf5_chunk_that_inflates(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("events", (1024, 4), "f8", chunks=(1024, 4), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), bomb(256 * MIB))


def hdf5_chunk_that_inflates_within_its_size(path: Path) -> None:
    """32 KiB of deflate is stored in no more than the chunk should take, and is 30 MiB."""
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("events", (1024, 4), "f8", chunks=(1024, 4), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), bomb(30 * MIB))


def hdf5_chunk_of_lzf(path: Path) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("events", (1024, 4), "f8", chunks=(1024, 4), compression="lzf")
        dataset.id.write_direct_chunk((0, 0), b"\0\0" + b"\xe0\xff\0" * 1_000_000)


def hdf5_twice_deflated(path: Path) -> None:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((1024, 4))
    settings.set_deflate(9)
    settings.set_deflate(9)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((1024, 4))
        dataset = h5py.h5d.create(file.id, b"events", h5py.h5t.NATIVE_DOUBLE, space, settings)
        dataset.write_direct_chunk((0, 0), zlib.compress(bomb(256 * MIB), 9))


def hdf5_of_huge_chunks(path: Path) -> None:
    with h5py.File(path, "w") as file:
        chunks = (2**26, 4)
        dataset = file.create_dataset("events", (64, 4), "f8", chunks=chunks, maxshape=(None, 4), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(100)))


def hdf5_of_nothing_stored(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("events", (2**24, 4), "f8", chunks=(1024, 4))


def hdf5_of_strings(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("events", data=["x" * MIB] * 4, dtype=h5py.string_dtype())


def events_far_apart(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([[0.0, 0, 0, 1], [1.0, 8191, 8191, 1]]))


PCD = (
    "VERSION 0.7\nFIELDS x y z i\n"
    "SIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 {count}\nWIDTH {width}\nHEIGHT 1\nDATA {kind}\n"
)


def pcd_that_unpacks(path: Path) -> None:
    size = 16 * 2**24
    body = struct.pack("<II", 3_000_002, size) + b"\0\0" + b"\xe0\xff\0" * 1_000_000
    path.write_bytes(PCD.format(count=1, width=2**24, kind="binary_compressed").encode() + body)


def pcd_that_unpacks_to_gigabytes(path: Path) -> None:
    body = struct.pack("<II", 2, 2**32 - 1) + b"\0\0"
    path.write_bytes(PCD.format(count=4000, width=2**20, kind="binary_compressed").encode() + body)


def pcd_of_one_line(path: Path) -> None:
    path.write_bytes(PCD.format(count=1, width=1, kind="ascii").encode() + b"1" * (20 * MIB))


def pcd_of_empty_lines(path: Path) -> None:
    path.write_bytes(PCD.format(count=1, width=1, kind="ascii").encode() + b"\n" * (20 * MIB))


def ply_of_many(path: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 16000000\nproperty float x\nproperty float y\nproperty float z\n"
    path.write_text(header + "end_header\n1 2 3\n")


def ply_of_a_long_list(path: Path) -> None:
    header = "ply\nformat binary_little_endian 1.0\nelement face 2\nproperty list uint double i\nelement vertex 1\n"
    path.write_bytes(f"{header}property float x\nend_header\n".encode() + struct.pack("<I", 2**32 - 1) + bytes(64))


def off_of_many(path: Path) -> None:
    path.write_text("OFF16000000 8000000 0\n1 2 3\n")


def off_of_a_long_face(path: Path) -> None:
    path.write_bytes(b"OFF\n1 1 0\n0 0 0\n999999999 0 0 0\n")


def off_of_one_line(path: Path) -> None:
    path.write_bytes(b"OFF\n1 1 0\n0 0 0\n" + b"1 " * (10 * MIB))


def obj_of_one_line(path: Path) -> None:
    path.write_bytes(b"v 0 0 0\nf " + b"1 " * (10 * MIB))


def obj_of_vertices(path: Path) -> None:
    path.write_bytes(b"v 0 0 0\n" * (MIB // 2))


def text_of_one_line(path: Path) -> None:
    path.write_bytes(b"1," * (10 * MIB))


def text_of_commas(path: Path) -> None:
    path.write_bytes(b"1,2,3\n" + b",,\n" * MIB)


def npz_of_zeros(path: Path) -> None:
    np.savez_compressed(path.with_suffix(".npz"), event_data=np.zeros((MIB, 4)))
    path.with_suffix(".npz").rename(path)


def npz_that_claims(path: Path) -> None:
    header = npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000, 4), }\n")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("event_data.npy", header + bytes(640))


def npz_of_many_arrays(path: Path) -> None:
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    entries = entry * 300_000
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entries), 4, 0)
    path.write_bytes(b"PK\3\4" + entries + end)


def csv_of_one_number(path: Path) -> None:
    path.write_bytes(b"ax,ay,az,gx,gy,gz\n" + b"9" * (20 * MIB))


def csv_of_empty_lines(path: Path) -> None:
    path.write_bytes(b"ax,ay,az,gx,gy,gz\n" + b"\n" * (20 * MIB))


def csv_of_commas(path: Path) -> None:
    path.write_bytes(b"," * (20 * MIB))


def wav_of_many_samples(path: Path) -> None:
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 16000, format="WAV")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 2**30)
    path.write_bytes(data)


def flac_of_many_samples(path: Path) -> None:
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 16000, format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F
    data[22:26] = b"\xff\xff\xff\xff"  # 2^36 samples
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("modality", "write"),
    [
        ("image", npy_of_terabytes),
        ("image", npy_with_a_huge_header),
        ("image", npy_of_nested_headers),
        ("image", png_of_gigabytes),
        ("image", png_whose_chunk_claims_gigabytes),
        ("thermal", tiff_of_doubles),
        ("event", hdf5_chunk_that_inflates),
        ("event", hdf5_chunk_that_inflates_within_its_size),
        ("event", hdf5_chunk_of_lzf),
        ("event", hdf5_twice_deflated),
        ("event", hdf5_of_huge_chunks),
        ("event", hdf5_of_nothing_stored),
        ("event", hdf5_of_strings),
        ("event", events_far_apart),
        ("event", npz_of_zeros),
        ("event", npz_that_claims),
        ("event", npz_of_many_arrays),
        ("point", pcd_that_unpacks),
        ("point", pcd_that_unpacks_to_gigabytes),
        ("point", pcd_of_one_line),
        ("point", pcd_of_empty_lines),
        ("point", ply_of_many),
        ("point", ply_of_a_long_list),
        ("point", off_of_many),
        ("point", off_of_a_long_face),
        ("point", off_of_one_line),
        ("point", obj_of_one_line),
        ("point", obj_of_vertices),
        ("point", text_of_one_line),
        ("point", text_of_commas),
        ("imu", csv_of_one_number),
        ("imu", csv_of_empty_lines),
        ("imu", csv_of_commas),
        ("audio", wav_of_many_samples),
        ("audio", flac_of_many_samples),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_claims_much_is_refused_and_takes_little(
    modality: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    write(path)
    rise, found = read(modality, path)
    assert "hint:" in found, found
    assert "hint: None" not in found
    unpacked = 88 * 3_000_000 if write is pcd_that_unpacks else 0  # the block itself, up to the limit of a file
    assert rise < 3 * path.stat().st_size + unpacked + 64 * MIB, f"{rise / MIB:.0f} MiB: {found}"


@pytest.mark.parametrize(
    "write", [png_with_more_than_it_claims, png_with_a_text_bomb], ids=lambda write: write.__name__
)
def test_what_a_picture_holds_beside_its_pixels_takes_no_memory(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "file")
    rise, _ = read("image", tmp_path / "file")
    assert rise < 64 * MIB
