"""sensor_msgs/Image against numpy and OpenCV: every encoding, step, byte order and library."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from refusal import refused, taken_or_refused
from ros import LIBRARIES, image

from advcal_edge.errors import InputError
from advcal_edge.runtime.messages import message_frame
from advcal_edge.runtime.messages.image import read_image
from advcal_edge.spec import depth, image as camera, thermal

RNG = np.random.default_rng(0)
KIND = "sensor_msgs/msg/Image"


def pixels(dtype: str, *shape: int) -> NDArray[np.generic]:
    raw = RNG.integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
    drawn: NDArray[np.generic] = raw.view(dtype)[..., 0]
    return np.where(np.isfinite(drawn), drawn, 0).astype(dtype) if np.dtype(dtype).kind == "f" else drawn


ORDERS = {"rgb": [0, 1, 2], "bgr": [2, 1, 0], "rgba": [0, 1, 2, 3], "bgra": [2, 1, 0, 3]}
PLAIN = [
    *((name, dtype, 1, [0]) for name, dtype in [("mono8", "u1"), ("mono16", "u2"), ("8UC1", "u1"), ("8SC1", "i1")]),
    *((name, dtype, 1, [0]) for name, dtype in [("16UC1", "u2"), ("16SC1", "i2"), ("32SC1", "i4"), ("32FC1", "f4")]),
    ("64FC1", "f8", 1, [0]),
    ("8UC3", "u1", 3, [2, 1, 0]),
    ("16UC4", "u2", 4, [2, 1, 0, 3]),
    *((f"{name}{bits}", f"u{bits // 8}", len(name), order) for name, order in ORDERS.items() for bits in (8, 16)),
]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("big", "pad"), [(False, 0), (True, 0), (False, 5), (True, 3)])
@pytest.mark.parametrize(("name", "dtype", "channels", "order"), PLAIN)
def test_plain_pixels(
    name: str, dtype: str, channels: int, order: list[int], big: bool, pad: int, library: str
) -> None:
    drawn = pixels(dtype, 5, 7, channels)
    read = read_image(image(drawn, name, pad=pad, big=big, library=LIBRARIES[library]))
    expected = drawn[:, :, order]
    np.testing.assert_array_equal(read, expected[:, :, 0] if channels == 1 else expected)
    assert read.dtype == np.dtype(dtype)


PATTERNS = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


@pytest.mark.parametrize(("bits", "big"), [(8, False), (16, False), (16, True)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_bayer_gives_back_the_colour_of_a_wall(pattern: str, bits: int, big: bool) -> None:
    """A pattern names the pixels of the upper left corner row by row, so that a wall can be mosaicked by hand."""
    colour = {"R": 200, "G": 120, "B": 30}
    scale = 1 if bits == 8 else 257
    corner = np.array([colour[letter] for letter in PATTERNS[pattern]]).reshape(2, 2) * scale
    mosaic = np.tile(corner, (6, 5)).astype(f"u{bits // 8}")
    read = read_image(image(mosaic, f"bayer_{pattern}{bits}", big=big, pad=2))
    assert read.shape == (12, 10, 3)
    assert np.abs(read.astype(int) - np.array([200, 120, 30]) * scale).max() <= 1


def yuv(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """BT.601 in studio range, by its definition."""
    r, g, b = (value / 255 for value in rgb)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return round(16 + 219 * y), round(128 + 224 * (b - y) / 1.772), round(128 + 224 * (r - y) / 1.402)


def yuv_bytes(name: str, height: int, width: int, colour: tuple[int, int, int]) -> tuple[bytes, int]:
    """Data of an image of one colour, and the bytes of a row."""
    y, u, v = yuv(colour)
    packed = {"uyvy": [u, y, v, y], "yuv422": [u, y, v, y], "yuyv": [y, u, y, v], "yuv422_yuy2": [y, u, y, v]}
    if name in packed:
        return bytes(packed[name] * (height * width // 2)), 2 * width
    pair = [v, u] if name == "nv21" else [u, v]
    pairs = height * width // (1 if name == "nv24" else 4)
    return bytes([y] * (height * width) + pair * pairs), width


@pytest.mark.parametrize("name", ["uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21", "nv24"])
@pytest.mark.parametrize("colour", [(200, 120, 30), (20, 60, 220), (90, 90, 90)])
def test_yuv(name: str, colour: tuple[int, int, int]) -> None:
    data, step = yuv_bytes(name, 6, 8, colour)
    message = SimpleNamespace(height=6, width=8, encoding=name, is_bigendian=0, step=step, data=data)
    read = read_image(message)
    assert read.shape == (6, 8, 3)
    assert np.abs(read.astype(int) - colour).max() <= 3


def test_nv24_keeps_the_colour_of_every_pixel() -> None:
    left, right = yuv((220, 30, 30)), yuv((30, 30, 220))
    bright = np.tile(np.uint8([left[0], right[0]]), (2, 2))
    colours = np.tile(np.uint8([left[1:], right[1:]]), (2, 2, 1))
    data = bright.tobytes() + colours.tobytes()
    read = read_image(SimpleNamespace(height=2, width=4, encoding="nv24", is_bigendian=0, step=4, data=data))
    expected = np.tile(np.array([[220, 30, 30], [30, 30, 220]]), (2, 2, 1))
    assert np.abs(read.astype(int) - expected).max() <= 3


def test_yuv_agrees_with_opencv_on_noise() -> None:
    raw = RNG.integers(0, 256, (6, 8, 2), dtype=np.uint8)
    message = SimpleNamespace(height=6, width=8, encoding="yuyv", is_bigendian=0, step=16, data=raw.tobytes())
    expected = cv2.cvtColor(raw, cv2.COLOR_YUV2BGR_YUY2)[:, :, ::-1]
    np.testing.assert_array_equal(read_image(message), expected)


@pytest.mark.parametrize("change", [{"step": 3}, {"height": 9}, {"width": 99}, {"height": 2}, {"step": -1}])
def test_sizes_that_do_not_fit_the_data(change: dict[str, int]) -> None:
    message = image(pixels("u2", 5, 7), "mono16")
    vars(message).update(change)
    with refused("bytes|step"):
        read_image(message)


def test_data_without_the_padding_of_the_last_row() -> None:
    drawn = pixels("u1", 4, 6)
    message = image(drawn, "mono8", pad=3)
    message.data = message.data[:-3]
    np.testing.assert_array_equal(read_image(message), drawn)
    message.data = message.data[:-1]
    with refused("bytes"):
        read_image(message)


def test_a_step_that_was_never_set() -> None:
    drawn = pixels("u1", 4, 6)
    message = image(drawn, "mono8")
    message.step = 0
    np.testing.assert_array_equal(read_image(message), drawn)


@pytest.mark.parametrize("name", ["", "jpeg", "16UC2", "yuv420p", "bayer_rggb12", "rgb8\n", "x" * 300])
def test_unknown_encodings_are_named(name: str) -> None:
    message = image(pixels("u1", 4, 6), "mono8")
    message.encoding = name
    with refused("encoding"):
        read_image(message)


def test_odd_sides_of_pictures_whose_pixels_share_colours() -> None:
    message = SimpleNamespace(height=3, width=4, encoding="nv12", is_bigendian=0, step=4, data=bytes(18))
    with refused("even sides"):
        read_image(message)


@pytest.mark.parametrize("missing", ["encoding", "height", "step", "is_bigendian", "data"])
def test_an_object_that_is_no_message(missing: str) -> None:
    message = image(pixels("u1", 4, 6), "mono8")
    delattr(message, missing)
    with refused(missing):
        read_image(message)


def test_a_colour_image_for_thermal_is_refused_by_name() -> None:
    with refused("rgb8"):
        message_frame(image(pixels("u1", 16, 16, 3), "rgb8"), thermal(8), KIND)


def test_grey_in_three_channels_is_thermal() -> None:
    grey = np.repeat(pixels("u1", 16, 16, 1), 3, axis=2)
    assert message_frame(image(grey, "bgr8"), thermal(8), KIND) is not None


def test_depth_in_eight_bits_is_refused_by_name() -> None:
    with refused("mono8"):
        message_frame(image(pixels("u1", 16, 16), "mono8"), depth(8), KIND)


@pytest.mark.parametrize("kind", ["sensor_msgs/msg/PointCloud2", "std_msgs/msg/String", ""])
def test_a_type_that_holds_no_pictures(kind: str) -> None:
    with refused("hold no image frames"):
        message_frame(image(pixels("u1", 16, 16), "mono8"), camera(8), kind)


NAMES = [name for name, *_ in PLAIN] + ["bayer_rggb8", "nv12", "nv24", "yuyv", "junk"]
SMALL = st.integers(-2, 20)


@given(
    st.sampled_from(NAMES),
    SMALL,
    SMALL,
    st.integers(-1, 200),
    st.binary(max_size=800),
    st.sampled_from([0, 1, 7, None]),
)
def test_any_numbers_give_pixels_of_the_claimed_size_or_a_refusal(
    name: str, height: int, width: int, step: int, data: bytes, big: int | None
) -> None:
    message = SimpleNamespace(height=height, width=width, encoding=name, is_bigendian=big, step=step, data=data)
    with taken_or_refused():
        assert read_image(message).shape[:2] == (height, width)


@pytest.mark.parametrize("value", [None, 3, "text", [300], [-1], [0.5], np.zeros(3, object), np.zeros((2, 2, 2))])
def test_data_of_any_type(value: object) -> None:
    message = image(pixels("u1", 4, 6), "mono8")
    message.data = value
    with pytest.raises(InputError):
        read_image(message)
