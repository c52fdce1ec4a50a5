"""CompressedImage against Pillow, and compressedDepth against the formula of its publisher and a plain RVL."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from refusal import refused, taken_or_refused
from ros import LIBRARIES, compressed
from rvl_reference import encode

from advcal_edge.runtime.messages import message_frame
from advcal_edge.runtime.messages.compressed import read_compressed
from advcal_edge.runtime.messages.rvl import decode_rvl
from advcal_edge.spec import depth

RNG = np.random.default_rng(0)
KIND = "sensor_msgs/msg/CompressedImage"
COLOUR = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
COUNTS = RNG.integers(0, 65536, (9, 13), dtype=np.uint16)
HOLED = np.where(RNG.random((24, 32)) < 0.3, 0, 400 + 90 * np.indices((24, 32)).sum(axis=0)).astype(np.uint16)


def saved(array: NDArray[np.generic], kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def configuration(a: float = 0.0, b: float = 0.0) -> bytes:
    return struct.pack("<iff", 0, a, b)


def rvl(array: NDArray[np.uint16]) -> bytes:
    return struct.pack("<II", array.shape[1], array.shape[0]) + encode(array)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("kind", "form", "options"),
    [
        ("PNG", "png", {}),
        ("PNG", "bgr8; png compressed bgr8", {}),
        ("WEBP", "webp", {"lossless": True}),
        ("TIFF", "rgb8; tiff compressed bgr8", {}),
    ],
)
def test_lossless_colours(kind: str, form: str, options: dict[str, object], library: str) -> None:
    message = compressed(saved(COLOUR, kind, **options), form, library=LIBRARIES[library])
    np.testing.assert_array_equal(read_compressed(message), COLOUR)


@pytest.mark.parametrize("form", ["jpeg", "rgb8; jpeg compressed bgr8", "jpg"])
def test_jpeg(form: str) -> None:
    smooth = cv2.resize(COLOUR, (64, 48))
    data = saved(smooth, "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    assert np.abs(read_compressed(compressed(data, form)).astype(int) - expected).max() <= 3


def test_counts() -> None:
    data = saved(COUNTS, "PNG")
    np.testing.assert_array_equal(read_compressed(compressed(data, "16UC1; png compressed ")), COUNTS)


@pytest.mark.parametrize("form", ["16UC1; compressedDepth", "16UC1; compressedDepth png", "16UC1;compressedDepth png"])
def test_depth_as_png(form: str) -> None:
    message = compressed(configuration() + saved(HOLED, "PNG"), form)
    np.testing.assert_array_equal(read_compressed(message), HOLED)


def test_depth_as_rvl() -> None:
    message = compressed(configuration() + rvl(HOLED), "16UC1; compressedDepth rvl")
    np.testing.assert_array_equal(read_compressed(message), HOLED)


@pytest.mark.parametrize("method", ["png", "rvl"])
def test_inverse_depth(method: str) -> None:
    """The publisher writes q = a / z + b with a = quality * (quality + 1) and b = 1 - a / farthest."""
    metres = RNG.uniform(0.5, 9, (24, 32)).astype(np.float32)
    metres[3, 4] = np.nan
    a = 100.0 * 101.0
    b = 1 - a / 10.0
    levels = np.where(np.isnan(metres), 0, a / np.nan_to_num(metres, nan=1) + b).astype(np.uint16)
    payload = rvl(levels) if method == "rvl" else saved(levels, "PNG")
    read = read_compressed(compressed(configuration(a, b) + payload, f"32FC1; compressedDepth {method}"))
    assert read.dtype == np.float32
    assert np.isnan(read[3, 4])
    known = ~np.isnan(metres)
    step = metres[known] ** 2 / a  # of one level at this depth
    assert (np.abs(read[known] - metres[known]) <= 1.1 * step).all()


def test_depth_reaches_the_sensor_in_metres() -> None:
    message = compressed(configuration() + rvl(HOLED), "16UC1; compressedDepth rvl")
    np.testing.assert_allclose(np.asarray(message_frame(message, depth(8), KIND)), HOLED / 1000)


@given(arrays(np.uint16, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_any_depth_survives_rvl(drawn: NDArray[np.uint16]) -> None:
    read = decode_rvl(np.frombuffer(encode(drawn), np.uint8), drawn.size)
    np.testing.assert_array_equal(read.reshape(drawn.shape), drawn)


@given(st.integers(0, 200), st.integers(1, 60), st.integers(1, 40), st.binary(min_size=1, max_size=6))
def test_rvl_that_is_cut_off_or_damaged(at: int, width: int, height: int, junk: bytes) -> None:
    data = bytearray(configuration() + rvl(HOLED))
    spoilt = bytes(data[: len(data) - at]) if at % 2 else bytes(data[:12]) + struct.pack("<II", width, height) + junk
    with taken_or_refused():
        assert read_compressed(compressed(spoilt, "16UC1; compressedDepth rvl")).ndim == 2


@given(st.data())
def test_flipped_bits(data: st.DataObject) -> None:
    form, whole = data.draw(
        st.sampled_from(
            [
                ("png", saved(COLOUR, "PNG")),
                ("jpeg", saved(COLOUR, "JPEG")),
                ("16UC1; compressedDepth png", configuration() + saved(HOLED, "PNG")),
                ("16UC1; compressedDepth rvl", configuration() + rvl(HOLED)),
                ("32FC1; compressedDepth rvl", configuration(9, 1) + rvl(HOLED)),
            ]
        )
    )
    spoilt = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4)):
        spoilt[at // 8] ^= 1 << at % 8
    end = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    with taken_or_refused():
        read_compressed(compressed(bytes(spoilt[:end]), form))


@pytest.mark.parametrize(
    "form", ["h264", "hevc", "bgr8; theora", "mono8; compressedDepth png", "16UC1; compressedDepth x"]
)
def test_formats_that_are_refused(form: str) -> None:
    with refused("format"):
        read_compressed(compressed(configuration() + saved(HOLED, "PNG"), form))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    with refused("65,000,000,000|pixels"):
        read_compressed(
            compressed(configuration() + struct.pack("<II", 250_000, 260_000), "16UC1; compressedDepth rvl")
        )
