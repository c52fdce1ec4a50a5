"""Frames of a pipe: each as long as it says, kinds mixed, cut off, hostile, and a pipe that is left while idle."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, strategies as st

from advcal_edge.errors import InputError
from advcal_edge.runtime.piped_frames import PipedFrames
from advcal_edge.runtime.sensors import Frame, Recording
from advcal_edge.spec import audio, image, thermal

PICTURE = np.random.default_rng(0).integers(0, 256, (19, 23, 3), dtype=np.uint8)
COUNTS = np.random.default_rng(1).integers(28000, 31000, (12, 10), dtype=np.uint16)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def encoded(suffix: str, array: np.ndarray, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, array, options)[1])


def read(content: bytes, step: int = 2**20, rate: float | None = None) -> list[Frame | InputError]:
    """What comes out of a pipe into which `step` bytes are written at a time."""
    inlet, outlet = os.pipe()

    def write() -> None:
        with open(outlet, "wb", buffering=0) as file:
            for start in range(0, len(content), step):
                file.write(content[start : start + step])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        return list(PipedFrames(image(8), inlet, rate))
    finally:
        os.close(inlet)
        thread.join()


@pytest.mark.parametrize("step", [1, 7, 2**20])
def test_kinds_are_mixed_and_cut_anywhere(step: int) -> None:
    contents = [
        npy(PICTURE),
        encoded(".png", PICTURE),
        encoded(".jpg", PICTURE),
        encoded(".jpg", PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".jpg", PICTURE, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        encoded(".png", COUNTS),
        npy(np.asfortranarray(COUNTS)),
    ]
    found = read(b"".join(contents), step)
    alone = [read(content)[0] for content in contents]
    assert len(found) == len(contents)
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one, other)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found[0], PICTURE)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found[1], PICTURE[:, :, ::-1])  # type: ignore[arg-type]
    np.testing.assert_array_equal(found[5], COUNTS)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found[6], COUNTS)  # type: ignore[arg-type]


def test_a_rate_makes_recordings() -> None:
    (sound,) = read(npy(np.zeros(9, np.float32)), rate=16000)
    assert isinstance(sound, Recording)
    assert (sound.rate, sound.values.shape) == (16000, (9,))


def test_a_broken_picture_is_an_item_and_the_next_frame_is_read() -> None:
    broken = bytearray(encoded(".png", PICTURE))
    broken[60:200] = bytes(140)
    first, second = read(bytes(broken) + npy(PICTURE))
    assert isinstance(first, InputError)
    assert "frame 0 of the input" in first.message
    np.testing.assert_array_equal(second, PICTURE)  # type: ignore[arg-type]


@given(st.sampled_from([npy(COUNTS), encoded(".png", PICTURE), encoded(".jpg", PICTURE)]), st.data())
def test_an_input_that_ends_within_a_frame(content: bytes, data: st.DataObject) -> None:
    end = data.draw(st.integers(1, len(content) - 1))
    first, last = read(npy(PICTURE) + content[:end])
    np.testing.assert_array_equal(first, PICTURE)  # type: ignore[arg-type]
    assert isinstance(last, InputError)
    assert "frame 1 of the input is cut off" in last.message


def huge() -> bytes:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999, 99999999)}\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "content",
    [
        b"not a frame at all",
        npy(COUNTS) + b"\n" + npy(COUNTS),
        npy(np.array([{"pickled": 1}], object)),
        huge(),
        b"\x93NUMPY\x01\x00\xff\xff" + bytes(99),
        b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT" + bytes(99),
        b"\xff\xd8\xff\xe0\x00\x04\x00\x00 no segment",
    ],
    ids=["text", "something between", "pickle", "huge", "long header", "huge chunk", "no segment"],
)
def test_what_is_no_frame_ends_the_input_with_its_reason(content: bytes) -> None:
    with pytest.raises(InputError, match=r"frame \d of the input") as refusal:
        read(content)
    assert refusal.value.hint


def test_a_radiometric_picture_is_refused_as_from_a_file() -> None:
    flir = b"FLIR\0\x01\0\0" + bytes(40)
    plain = encoded(".jpg", PICTURE)
    marked = plain[:2] + b"\xff\xe1" + (len(flir) + 2).to_bytes(2, "big") + flir + plain[2:]
    inlet, outlet = os.pipe()
    with open(outlet, "wb") as file:
        file.write(marked)
    (item,) = PipedFrames(thermal(8), inlet)
    os.close(inlet)
    assert isinstance(item, InputError)
    assert "FLIR radiometric" in item.message


def test_an_idle_pipe_can_be_left() -> None:
    inlet, outlet = os.pipe()
    frames = PipedFrames(audio(16, 40), inlet)
    items: list[Frame | InputError] = []

    def gather(source: Iterator[Frame | InputError]) -> None:
        items.extend(source)

    thread = threading.Thread(target=gather, args=(iter(frames),))
    thread.start()
    os.write(outlet, npy(COUNTS)[:50])
    frames.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert items == []
    os.close(inlet)
    os.close(outlet)
