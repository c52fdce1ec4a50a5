"""Files of pictures equal what Pillow, tifffile and numpy find in them; other formats are named with the way in."""

from __future__ import annotations

import io
import shlex
import struct
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin
from refusal import assert_helpful, refused, taken_or_refused

from advcal_edge.errors import DependencyError, InputError
from advcal_edge.runtime.sensors import preprocess, read_frame
from advcal_edge.runtime.sensors.files.image_file import read_picture
from advcal_edge.spec import depth, image, thermal

FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
ORIENTATION = 274
HEIGHT, WIDTH = 20, 28


def colours(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5), np.uint8)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(kind: str, orientation: int, picture: Image.Image) -> bytes:
    if kind == "TIFF":
        return saved(picture, kind, tiffinfo={ORIENTATION: orientation})
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(picture, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))


def upright(data: bytes) -> NDArray[Any]:
    """What Pillow shows."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def read(data: bytes, tmp_path: Path) -> NDArray[Any]:
    (tmp_path / "frame").write_bytes(data)
    return np.asarray(read_picture(tmp_path / "frame").values)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_turned_picture_is_upright_as_in_pillow(kind: str, orientation: int, tmp_path: Path) -> None:
    data = oriented(kind, orientation, Image.fromarray(colours()))
    found = read(data, tmp_path)
    assert found.shape[:2] == ((WIDTH, HEIGHT) if 5 <= orientation <= 8 else (HEIGHT, WIDTH))
    assert np.array_equal(found, upright(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_xmp_counts_where_exif_says_nothing(orientation: int, tmp_path: Path) -> None:
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    for data in (
        saved(Image.fromarray(colours()), "JPEG", xmp=packet),
        saved(Image.fromarray(colours()), "WEBP", lossless=True, xmp=packet),
    ):
        assert np.array_equal(read(data, tmp_path), upright(data))


def test_a_turned_png_keeps_sixteen_bits_and_alpha(tmp_path: Path) -> None:
    deep = colours().astype(np.uint16) * 257 + 3
    rgba = np.dstack([deep, deep[..., :1]])
    data = cv2.imencode(".png", rgba[..., [2, 1, 0, 3]])[1].tobytes()
    exif = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", ORIENTATION, 3, 1, 6, 0) + bytes(4)
    chunk = b"eXIf" + exif
    data = data[:33] + struct.pack(">I", len(exif)) + chunk + struct.pack(">I", 0) + data[33:]
    found = read(data, tmp_path)
    assert found.dtype == np.uint16
    assert np.array_equal(found, np.rot90(rgba, -1))


@pytest.mark.parametrize("packed", [False, True])
def test_orientation_as_imagemagick_kept_it_in_text(packed: bool, tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", ORIENTATION, 3, 1, 8, 0) + bytes(4)
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n"
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=packed)
    data = saved(Image.fromarray(colours()), "PNG", pnginfo=info)
    assert np.array_equal(read(data, tmp_path), upright(data))
    assert read(data, tmp_path).shape == (WIDTH, HEIGHT, 3)


@FILES
@given(exif=st.binary(max_size=60), head=st.sampled_from([b"", b"II*\0", b"MM\0*", b"II*\0\x08\0\0\0\xff\xff"]))
def test_broken_metadata_leave_a_picture_as_it_is(exif: bytes, head: bytes, tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", colours())[1].tobytes()
    body = b"Exif\0\0" + head + exif
    whole = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    found = read(whole, tmp_path)
    assert sorted(found.shape[:2]) == [HEIGHT, WIDTH]


def test_a_thumbnail_before_the_picture_is_passed_over(tmp_path: Path) -> None:
    data, small = (saved(Image.fromarray(colours(*size)), "JPEG") for size in ((HEIGHT, WIDTH), (6, 8)))
    segment = b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small
    assert np.array_equal(read(data[:2] + segment + data[2:], tmp_path), read(data, tmp_path))


# --- other containers


MODES = {
    "TIFF": ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F"),
    "PNG": ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"),
    "GIF": ("1", "L", "P", "RGB"),
}
"""What Pillow writes as it is."""


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes])
def test_modes_of_pillow_come_back(kind: str, mode: str, tmp_path: Path) -> None:
    grey = mode in ("1", "LA", "I;16", "I", "F")
    picture = Image.fromarray(colours()[..., 0] if grey else colours()).convert(mode)
    data = saved(picture, kind)
    found = read(data, tmp_path)
    if found.ndim == 3 and found.shape[2] == 4:
        found = found if mode == "RGBA" else found[..., 0]
    if kind == "GIF" and mode in ("1", "L"):
        expected = np.asarray(picture.convert("RGB"))
    elif mode in ("P", "CMYK", "YCbCr", "RGB"):
        with Image.open(io.BytesIO(data)) as again:
            expected = np.asarray(again.convert("RGB"))
    else:
        expected = np.asarray(picture.convert("L") if mode in ("1", "LA") else picture)
    found = np.repeat(found[..., None], 3, 2) if expected.ndim == 3 and found.ndim == 2 else found
    assert np.abs(found.astype(float) - expected).max() <= (1 if mode == "YCbCr" else 0)


def test_a_palette_tiff_is_in_colour(tmp_path: Path) -> None:
    palette = Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20) % 4, mode="P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255] + [0] * 756)
    assert np.array_equal(read(saved(palette, "TIFF"), tmp_path), np.asarray(palette.convert("RGB")))


@FILES
@given(data=st.data(), kind=st.sampled_from(["PPM", "PGM16", "PNG16", "TIFF16"]))
def test_what_pillow_writes_is_read(data: st.DataObject, kind: str, tmp_path: Path) -> None:
    shape = (data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12)))
    if kind == "PPM":
        values: NDArray[Any] = data.draw(hnp.arrays("uint8", (*shape, 3)))
    else:
        values = data.draw(hnp.arrays("uint16", shape))
    form = {"PPM": "PPM", "PGM16": "PPM", "PNG16": "PNG", "TIFF16": "TIFF"}[kind]
    assert np.array_equal(read(saved(Image.fromarray(values), form), tmp_path), values)


@FILES
@given(
    values=hnp.arrays(
        "float32", hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(-9, 9, width=32)
    )
)
def test_a_pfm_is_read_from_the_bottom_up(values: NDArray[np.float32], tmp_path: Path) -> None:
    height, width = values.shape
    little = b"Pf\n%d %d\n-1.0\n" % (width, height) + values[::-1].astype("<f4").tobytes()
    big = b"Pf %d %d 0.5\n" % (width, height) + values[::-1].astype(">f4").tobytes()
    assert np.array_equal(read(little, tmp_path), values)
    assert np.array_equal(read(big, tmp_path), values)


def test_the_largest_value_of_a_pgm_is_its_full_scale(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 4095, 32), (32, 1)).astype(np.uint16)
    (tmp_path / "frame").write_bytes(b"P5\n# a camera of 12 bits\n32 32\n4095\n" + ramp.astype(">u2").tobytes())
    frame = read_frame(tmp_path / "frame", image(32))
    with Image.open(tmp_path / "frame") as pillow:
        assert np.abs(frame.astype(float) - np.asarray(pillow)).max() <= 1
    counts = thermal(8).with_settings({"kelvin_per_count": "raw"})
    assert np.array_equal(read_frame(tmp_path / "frame", counts), ramp)  # counts stay as they are
    declared = image(32).with_settings({"significant_bits": 12})
    x = preprocess(declared, [read_frame(tmp_path / "frame", declared)])
    assert np.abs(x - preprocess(image(32), [frame])).max() <= 1.01 / 255


@pytest.mark.parametrize(
    "content",
    [b"P5 4 4 255\n" + bytes(15), b"P5 4 4 255\n" + bytes(17) + b"\1", b"P2 2 2 255 1 2 3", b"P2 2 2 255 1 2 3 4 5",
     b"P2 2 2 255 1 2 3 -4", b"P5 4 4 0\n" + bytes(16), b"P5 2 2 9\n\1\2\3\x0a", b"Pf 2 2 0\n" + bytes(16),
     b"P6 4 4 255\n" + bytes(47)],
    ids=str,
)  # fmt: skip
def test_a_netpbm_file_of_another_size_than_it_claims_is_refused(content: bytes, tmp_path: Path) -> None:
    with refused("truncated or corrupt|header is broken"):
        read(content, tmp_path)


def test_an_npz_holds_one_array(tmp_path: Path) -> None:
    celsius = np.linspace(10, 40, 80, dtype=np.float32).reshape(8, 10)
    np.savez_compressed(tmp_path / "one.npz", frame=celsius)
    np.savez(tmp_path / "two.npz", a=celsius, b=celsius)
    assert np.array_equal(read_frame(tmp_path / "one.npz", thermal(8)), celsius)
    with refused("holds 2 arrays: a, b"):
        read_frame(tmp_path / "two.npz", thermal(8))


def test_an_npy_file_of_two_arrays_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "two.npy").open("wb") as file:
        for _ in range(2):
            np.save(file, colours())
    with refused("more arrays"):
        read_frame(tmp_path / "two.npy", image(8))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_several_pictures_in_a_file_are_refused(kind: str, tmp_path: Path) -> None:
    first, second = Image.fromarray(colours(seed=0)), Image.fromarray(colours(seed=1))
    with refused("film of|stack of 2 pages") as refusal:
        read(saved(first, kind, save_all=True, append_images=[second]), tmp_path)
    assert "to a file of its own" in str(refusal.value.hint)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_pictures_one_after_another_are_a_film(suffix: str, tmp_path: Path) -> None:
    data = cv2.imencode(suffix, colours())[1].tobytes()
    with refused("film of (several|2) pictures"):
        read(data + data, tmp_path)
    assert read(data + b"a trailer of a telephone", tmp_path).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("head", "name", "way"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC", "heif-convert"),
        (b"\xff\x0a", "JPEG XL", "djxl"),
        (b"\x76\x2f\x31\x01", "OpenEXR", "oiiotool"),
        (b"FFF\0", "FLIR recording", "exiftool"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000", "opj_decompress"),
        (b"II*\0\x10\0\0\0CR", "Canon", "dcraw"),
        (b"\0\0\0\x18ftypisom", "a film", "ffmpeg"),
        (b"\x1a\x45\xdf\xa3", "a film", "ffmpeg"),
        (b"\x1f\x8b", "gzip", "gunzip"),
    ],
)
def test_formats_that_are_not_read_are_named_with_the_way_in(head: bytes, name: str, way: str, tmp_path: Path) -> None:
    with refused(name) as refusal:
        read(head + bytes(64), tmp_path)
    assert way in str(refusal.value.hint)


def with_segment(marker: int, body: bytes, data: bytes) -> bytes:
    return data[:2] + b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize("maker", ["FLIR", "DJI"])
def test_a_radiometric_jpeg_is_a_picture_and_no_thermal_frame(maker: str, tmp_path: Path) -> None:
    grey = cv2.imencode(".jpg", np.repeat(colours()[..., :1], 3, 2))[1].tobytes()
    if maker == "FLIR":
        data = with_segment(0xE1, b"FLIR\0\1\0\0" + bytes(500), grey)
    else:
        data = with_segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0DJI", grey)
        data = with_segment(0xE3, bytes(60000), with_segment(0xE3, bytes(60000), data))
    (tmp_path / "r.jpg").write_bytes(data)
    assert read_frame(tmp_path / "r.jpg", image(8)).shape == (HEIGHT, WIDTH, 3)
    with refused(f"{maker} radiometric JPEG"):
        read_frame(tmp_path / "r.jpg", thermal(8))
    read_frame(tmp_path / "r.jpg", thermal(8).with_settings({"assume_units": "yes"}))


# --- tiff, against tifffile


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile", reason="the extra `tiff` is not installed")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


DEEP = colours(32, 48).astype(np.uint16) * 257


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.moveaxis(colours(), 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (np.moveaxis(DEEP, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (colours(), {"photometric": "rgb", "bigtiff": True}),
        (DEEP[..., 0], {"bigtiff": True, "byteorder": ">"}),
        (DEEP[..., 0], {"tile": (16, 16)}),
        (DEEP, {"photometric": "rgb", "tile": (16, 16)}),
        (DEEP[..., 0].astype("f2"), {}),
        (DEEP[..., 0].astype("u4"), {}),
        (DEEP.astype("u4"), {"photometric": "rgb"}),
        (DEEP.astype("f8"), {"photometric": "rgb"}),
        (DEEP[..., 0].astype("i4") - 30000, {}),
        ((DEEP[..., 0] // 4).astype("i2") - 9000, {}),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else "-".join(value),
)
def test_tiffs_of_tifffile_come_back(values: NDArray[Any], options: dict[str, Any], tmp_path: Path) -> None:
    data = tiff(values, **options)
    found = read(data, tmp_path)
    planes = options.get("planarconfig") == "separate"
    expected = np.moveaxis(values, 0, 2) if planes else values
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("compression", ["zstd", "lzma", "deflate", "lzw", "packbits"])
def test_compressed_tiffs_come_back(compression: str, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs", reason="the extra `tiff` is not installed")
    assert np.array_equal(read(tiff(DEEP[..., 0], compression=compression), tmp_path), DEEP[..., 0])


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_counts_come_back_as_counts(bits: int, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs", reason="the extra `tiff` is not installed")
    values = np.linspace(0, 2**bits - 1, 16 * 24).astype(np.uint16).reshape(16, 24)
    (tmp_path / "frame").write_bytes(tiff(values, bitspersample=bits))
    picture = read_picture(tmp_path / "frame")
    assert np.array_equal(picture.values, values)
    assert picture.full_scale == 2**bits - 1
    assert preprocess(image(16), [read_frame(tmp_path / "frame", image(16))]).max() > 0.95


def test_white_may_be_zero(tmp_path: Path) -> None:
    for values in (DEEP[..., 0], colours()[..., 0]):
        full = np.iinfo(values.dtype).max
        assert np.array_equal(read(tiff(values, photometric="miniswhite"), tmp_path), full - values)


def test_a_tiff_that_needs_tifffile_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiff(DEEP[..., 0].astype("u4"))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DependencyError, match=r"1 channel of 32 bits, unsigned, no compression,.*tifffile") as refusal:
        read(data, tmp_path)
    assert "advcal-edge[tiff]" in str(refusal.value.hint)


def test_a_stack_of_pages_is_split_by_the_command_in_the_hint(tmp_path: Path) -> None:
    pages = [np.full((6, 8), value, np.uint16) for value in (29000, 29500, 30000)]
    (tmp_path / "s.tiff").write_bytes(tiff(np.stack(pages), photometric="minisblack"))
    with refused("stack of 3 pages") as refusal:
        read_frame(tmp_path / "s.tiff", thermal(8))
    command = shlex.split(str(refusal.value.hint).split("`")[1])
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True)
    for index, page in enumerate(pages):
        assert np.array_equal(read_frame(tmp_path / f"page{index}.tiff", thermal(8)), page)


def test_a_thumbnail_page_is_passed_over_and_raw_files_are_named(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="the extra `tiff` is not installed")
    for raw in (False, True):
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer) as file:
            tags = [(50706, "B", 4, (1, 4, 0, 0))] if raw else []
            file.write(colours(6, 8), subfiletype=1, photometric="rgb", extratags=tags)
            file.write(colours(), photometric="rgb")
        if raw:
            with refused("raw file"):
                read(buffer.getvalue(), tmp_path)
        else:
            assert np.array_equal(read(buffer.getvalue(), tmp_path), colours())


@pytest.mark.parametrize("values", [np.random.default_rng(0).random((20, 20, 3)), DEEP.astype("u4")])
def test_colours_that_are_no_camera_frame_are_refused_in_words(values: NDArray[Any], tmp_path: Path) -> None:
    (tmp_path / "f.tiff").write_bytes(tiff(values, photometric="rgb"))
    with refused(f"{values.dtype}"):
        read_frame(tmp_path / "f.tiff", image(8))


# --- damage


def seeds() -> dict[str, bytes]:
    """A small file of each format."""
    picture, grey = Image.fromarray(colours()), Image.fromarray(colours()[..., 0])
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    others = {}
    if find_spec("tifffile"):
        others["planes"] = tiff(np.moveaxis(DEEP, 2, 0), photometric="rgb", planarconfig="separate")
        others["half"] = tiff(DEEP[..., 0].astype("f2"))
    return others | {
        "jpeg": saved(picture, "JPEG", exif=exif),
        "progressive": saved(picture, "JPEG", progressive=True),
        "png": saved(picture, "PNG", exif=exif),
        "webp": saved(picture, "WEBP", exif=exif),
        "gif": saved(picture, "GIF"),
        "avif": saved(picture, "AVIF", exif=exif),
        "bmp": saved(picture, "BMP"),
        "tiff": saved(picture, "TIFF", tiffinfo={ORIENTATION: 6}),
        "palette": saved(picture.quantize(8), "TIFF"),
        "deflate": saved(picture, "TIFF", compression="tiff_adobe_deflate"),
        "ppm": saved(picture, "PPM"),
        "pgm": saved(grey, "PPM"),
        "pfm": b"Pf\n4 4\n-1\n" + np.linspace(10, 30, 16, dtype="<f4").tobytes(),
    }


SEEDS = seeds()
DAMAGED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@DAMAGED
@given(
    name=st.sampled_from(sorted(SEEDS)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=4),
    keep=st.just(1.0) | st.floats(0.02, 1),
)
def test_a_damaged_file_is_right_or_refused(
    name: str, flips: list[tuple[float, int]], keep: float, tmp_path: Path
) -> None:
    """Never another exception, and never other dimensions than Pillow sees."""
    data = bytearray(SEEDS[name])
    for place, bit in flips:
        data[int(place * len(data))] ^= 1 << bit
    cut = data[: max(1, int(keep * len(data)))]
    found = None
    with suppress(DependencyError), taken_or_refused():  # a flip may ask for a compression that only an extra reads
        found = read(bytes(cut), tmp_path)
    if found is not None and not flips:
        assert len(cut) == len(data), "a cut file was read"
        assert np.array_equal(found, read(SEEDS[name], tmp_path))
    sides = size_in_pillow(bytes(cut))
    if found is not None and sides:
        assert sorted(found.shape[:2]) == sorted(sides)


def size_in_pillow(data: bytes) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.size
    except Exception:  # Pillow raises a dozen kinds
        return None


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    data = SEEDS[name]
    for keep in np.linspace(1, len(data) - 2, 40).astype(int):
        with pytest.raises(InputError) as refusal:
            read(data[:keep], tmp_path)
        assert_helpful(refusal.value)


def test_depth_files_obey_the_same_reader(tmp_path: Path) -> None:
    metres = np.linspace(0.5, 4, 80, dtype=np.float32).reshape(8, 10)
    (tmp_path / "m.pfm").write_bytes(b"Pf\n10 8\n-1\n" + metres[::-1].tobytes())
    assert np.array_equal(read_frame(tmp_path / "m.pfm", depth(8)), metres)
