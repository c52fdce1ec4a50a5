"""Raw frames in, tensors on the sensor's grid out; anything else is an InputError that names the culprit."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from refusal import refused, taken_or_refused

from advcal_edge.errors import ConfigError
from advcal_edge.runtime.sensors import preprocess, read_frame
from advcal_edge.runtime.sensors.files.image_header import read_image_header
from advcal_edge.runtime.sensors.thermal import KELVIN_PER_COUNT, MINIMUM_SPAN, agc_window
from advcal_edge.spec import Modality, image, thermal

FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80)
ARRAYS = settings(deadline=None, max_examples=80)
SIDES = st.integers(1, 90)


def picture(height: int = 40, width: int = 60, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2).astype(np.uint8)


def encoded(suffix: str, frame: NDArray[Any]) -> bytes:
    if suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, frame)
        return buffer.getvalue()
    bgr = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, bgr)[1].tobytes()


def assert_legal(modality: Modality, x: NDArray[np.float32]) -> None:
    modality.input.check(x)
    assert np.array_equal(x, np.rint(x * 255) / np.float32(255)), "off the 8-bit grid"


@ARRAYS
@given(data=st.data(), size=st.sampled_from([1, 7, 32, 64]), tail=st.sampled_from([(), (1,), (3,), (4,)]))
def test_any_image_becomes_a_legal_sample_on_the_grid(data: st.DataObject, size: int, tail: tuple[int, ...]) -> None:
    dtype = data.draw(st.sampled_from(["uint8", "uint16", ">u2"]))
    frame = data.draw(hnp.arrays(dtype, (data.draw(SIDES), data.draw(SIDES), *tail)))
    taken = image(size).with_settings({"assume_units": "yes"})  # drawn values may look like bytes in the wrong order
    assert_legal(taken, preprocess(taken, [frame]))


@ARRAYS
@given(data=st.data(), size=st.sampled_from([1, 7, 32, 64]))
def test_any_thermal_frame_becomes_a_legal_sample_on_the_grid(data: st.DataObject, size: int) -> None:
    shape = (data.draw(SIDES), data.draw(SIDES))
    frame = data.draw(
        st.one_of(
            hnp.arrays(st.sampled_from(["uint8", "uint16"]), shape),
            hnp.arrays("float32", shape, elements=st.floats(-270, 5000, width=32)),
        )
    )
    modality = thermal(size).with_settings({"assume_units": "yes"})  # arrays of tests are no scenes
    assert_legal(modality, preprocess(modality, [frame]))


@ARRAYS
@given(shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6), dtype=st.sampled_from("?bhHiQfdFOUM"))
@pytest.mark.parametrize("modality", [image(8), thermal(8)], ids=lambda m: m.name)
def test_any_array_is_taken_or_refused_with_an_input_error(
    modality: Modality, shape: tuple[int, ...], dtype: str
) -> None:
    frame = np.zeros(shape, "M8[s]" if dtype == "M" else dtype)
    with taken_or_refused():
        assert_legal(modality, preprocess(modality, [frame]))


def test_a_frame_of_the_right_size_passes_unchanged() -> None:
    frame = picture(64, 64)
    x = preprocess(image(64), [frame])
    assert np.array_equal(np.rint(x[0] * 255).astype(np.uint8), frame.transpose(2, 0, 1))


def test_grey_becomes_three_equal_planes_and_alpha_is_dropped() -> None:
    frame = picture()
    alpha = np.dstack([frame, np.zeros((40, 60, 1), np.uint8)])
    grey = preprocess(image(32), [frame[:, :, 0]])
    assert np.array_equal(grey[0, 0], grey[0, 1])
    assert np.array_equal(grey[0, 0], grey[0, 2])
    assert np.array_equal(preprocess(image(32), [alpha]), preprocess(image(32), [frame]))


def test_the_centre_of_a_wide_frame_is_kept() -> None:
    frame = np.zeros((20, 60), np.uint8)
    frame[:, 20:40] = 255
    assert preprocess(image(20), [frame]).min() == 1.0


def test_sixteen_bit_images_use_their_full_scale() -> None:
    frame = np.full((8, 8), 65535, np.uint16)
    assert preprocess(image(8), [frame]).max() == 1.0


def test_counts_and_degrees_of_one_scene_agree() -> None:
    counts = np.random.default_rng(0).integers(28000, 30000, (64, 64)).astype(np.uint16)
    celsius = counts.astype(np.float64) * KELVIN_PER_COUNT - 273.15
    apart = np.abs(preprocess(thermal(64), [counts]) - preprocess(thermal(64), [celsius]))
    assert apart.max() <= 1.01 / 255  # rounding may fall either way


def test_noise_of_an_empty_scene_is_not_amplified() -> None:
    frame = (20 + 0.05 * np.random.default_rng(0).standard_normal((64, 64))).astype(np.float32)
    window = agc_window(frame)
    assert window.std() == pytest.approx(0.05 / MINIMUM_SPAN, rel=0.1)
    assert window.mean() == pytest.approx(0.5, abs=0.01)


def test_a_glint_does_not_take_the_contrast() -> None:
    frame = np.tile(np.linspace(10, 30, 64, dtype=np.float32), (64, 1))
    frame[0, 0] = 400
    assert np.ptp(agc_window(frame)[1:]) > 0.99


def test_frames_of_different_sizes_make_one_batch_and_none_an_empty_one() -> None:
    assert preprocess(image(16), [picture(), picture(16, 16), picture(200, 30)]).shape == (3, 3, 16, 16)
    assert preprocess(thermal(16), []).shape == (0, 1, 16, 16)


@pytest.mark.parametrize(
    ("modality", "frame", "found"),
    [
        (image(8), np.zeros((8, 8, 3), np.float32), "float32"),
        (image(8), np.zeros((3, 8, 8), np.uint8), "(3, 8, 8)"),
        (image(8), np.zeros((0, 8, 3), np.uint8), "empty"),
        (thermal(8), np.full((8, 8), np.nan, np.float32), "nan"),
        (thermal(8), np.full((8, 8), np.inf, np.float32), "inf"),
        (thermal(8), picture(8, 8), "uint8 (8, 8, 3)"),
        (thermal(8), np.zeros((8, 8), np.int32), "int32"),
        (thermal(8), "frame.png", "str"),
    ],
)
def test_a_refusal_names_the_frame_and_what_was_found(modality: Modality, frame: Any, found: str) -> None:
    good = np.zeros((8, 8), np.uint8)
    with refused("frame 1 ") as refusal:
        preprocess(modality, [good, frame])
    assert found in refusal.value.message


def test_one_frame_without_its_list_is_refused() -> None:
    with refused("sequence of frames"):
        preprocess(image(8), picture())


def test_an_unknown_preprocessing_lists_those_there_are() -> None:
    with pytest.raises(ConfigError) as refusal:
        preprocess(dataclasses.replace(image(8), preprocess="sonar"), [])
    assert "image, video, thermal" in str(refusal.value.hint)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tiff", ".npy", ".jpg"])
def test_files_come_back_as_rgb(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"frame{suffix}"
    path.write_bytes(encoded(suffix, picture()))
    apart = np.abs(read_frame(path, image(8)).astype(int) - picture())
    assert apart.mean() < (3 if suffix == ".jpg" else 1e-9)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".npy"])
def test_sixteen_bit_files_keep_their_counts(suffix: str, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(28000, 31000, (12, 16)).astype(np.uint16)
    path = tmp_path / f"frame{suffix}"
    path.write_bytes(encoded(suffix, counts))
    assert np.array_equal(read_frame(path, thermal(8)), counts)


def test_a_grey_recording_saved_in_three_channels_is_thermal(tmp_path: Path) -> None:
    path = tmp_path / "frame.png"
    path.write_bytes(encoded(".png", np.repeat(picture()[:, :, :1], 3, axis=2)))
    assert preprocess(thermal(8), [read_frame(path, thermal(8))]).shape == (1, 1, 8, 8)


def test_a_tint_of_compression_is_no_palette() -> None:
    grey = np.random.default_rng(0).integers(20, 230, (60, 60, 1), np.uint8)
    tinted = np.concatenate([grey, grey + 3, grey - 8], axis=2)
    assert np.array_equal(preprocess(thermal(8), [tinted]), preprocess(thermal(8), [grey]))
    tinted[0, :3, 1] += 20  # less than a thousandth
    preprocess(thermal(8), [tinted])
    tinted[0, :9, 1] += 20
    for frame in (tinted, tinted.astype(np.uint16)):
        with refused("expected one channel"):
            preprocess(thermal(8), [frame])


@FILES
@given(suffix=st.sampled_from([".png", ".jpg", ".bmp", ".webp", ".tiff", ".npy"]), keep=st.floats(0, 0.95))
def test_truncated_files_are_refused(suffix: str, keep: float, tmp_path: Path) -> None:
    data = encoded(suffix, picture())
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(keep * len(data))])
    with refused("cut"):
        read_frame(path, image(8))


@FILES
@given(
    head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"\x93NUMPY\x01\x00"]),
    body=st.binary(max_size=200),
)
def test_arbitrary_bytes_raise_nothing_but_an_input_error(head: bytes, body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "frame"
    path.write_bytes(head + body)
    with refused("frame"):
        read_frame(path, image(8))


@FILES
@given(
    suffix=st.sampled_from([".png", ".jpg", ".bmp", ".webp", ".tiff", ".npy"]),
    damage=st.dictionaries(st.integers(0, 400), st.integers(0, 255), max_size=6),
)
def test_damaged_files_are_read_or_refused(suffix: str, damage: dict[int, int], tmp_path: Path) -> None:
    data = bytearray(encoded(suffix, picture()))
    for at, value in damage.items():
        data[at % len(data)] = value
    path = tmp_path / f"frame{suffix}"
    path.write_bytes(bytes(data))
    with taken_or_refused():
        preprocess(image(8), [read_frame(path, image(8))])


def test_a_file_that_claims_gigabytes_is_refused_before_decoding(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"IEND"
    (tmp_path / "bomb.png").write_bytes(bomb)
    with refused("60000 x 60000"):
        read_frame(tmp_path / "bomb.png", image(8))

    array = np.lib.format.magic(1, 0)
    literal = b"{'descr': '|u1', 'fortran_order': False, 'shape': (900000, 900000), }".ljust(117) + b"\n"
    (tmp_path / "bomb.npy").write_bytes(array + struct.pack("<H", len(literal)) + literal)
    with refused(r"bomb\.npy"):
        read_frame(tmp_path / "bomb.npy", image(8))


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "frame.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with refused(r"frame\.npy"):
        read_frame(tmp_path / "frame.npy", image(8))


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with refused("cannot read|is a folder"):
            read_frame(path, image(8))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_claims_match_what_is_decoded(suffix: str) -> None:
    claims = read_image_header(encoded(suffix, picture(33, 47)))
    assert claims is not None
    assert (claims.height, claims.width, claims.complete) == (33, 47, True)


def with_a_segment_hidden_between(data: bytes) -> bytes:
    """A small size where only a lax reader sees it, before the true one."""
    small = b"\xff\xc0\0\x11\x08\0\x08\0\x08\x03\x01\x22\0\x02\x11\x01\x03\x11\x01"
    return data[:2] + b"\0" + small + data[2:]


def with_two_widths(data: bytes) -> bytes:
    tags = [(256, 60_000), (257, 60_000), (256, 8), (257, 8)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


def with_a_chunk_before_the_header(data: bytes) -> bytes:
    body = struct.pack(">II", 8, 8) + b"\0"
    chunk = b"tEXt" + body
    return data[:8] + struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[8:]


@pytest.mark.parametrize(
    ("suffix", "disguise"),
    [(".jpg", with_a_segment_hidden_between), (".tiff", with_two_widths), (".png", with_a_chunk_before_the_header)],
)
def test_a_header_that_could_be_read_in_two_ways_is_refused(suffix: str, disguise: Any, tmp_path: Path) -> None:
    (tmp_path / "frame").write_bytes(disguise(encoded(suffix, picture())))
    with refused("its header is broken"):
        read_frame(tmp_path / "frame", image(8))


def test_a_cut_jpeg_with_a_whole_thumbnail_is_refused(tmp_path: Path) -> None:
    data = encoded(".jpg", picture())
    thumbnail = encoded(".jpg", picture(8, 8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    (tmp_path / "frame").write_bytes((data[:2] + segment + data[2:])[: len(segment) + len(data) - 400])
    with refused("truncated or corrupt jpeg"):
        read_frame(tmp_path / "frame", image(8))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_pictures_of_any_type_are_read(dtype: str, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 99, (6, 7, 3)).astype(dtype)
    cv2.imwrite(str(tmp_path / "frame.tiff"), colours[:, :, ::-1])
    with refused(f"{np.dtype(dtype)}"):
        read_frame(tmp_path / "frame.tiff", image(8))
