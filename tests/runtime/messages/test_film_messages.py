"""Windows of pictures as clips of video: their colours, their times, and what is no film."""

from __future__ import annotations

import numpy as np
import pytest
from refusal import refused
from ros import NANOSECONDS, image

from advcal_edge.errors import ConfigError
from advcal_edge.runtime.messages import FrameReader
from advcal_edge.runtime.sensors import Recording, preprocess
from advcal_edge.spec import Modality, video

KIND = "sensor_msgs/msg/Image"
FILM = np.random.default_rng(0).integers(0, 256, (25, 8, 8, 3), dtype=np.uint8)
STEP = 100_000_000


def windows(modality: Modality, stamps: list[int], encoding: str = "rgb8", *, stored: bool = False) -> list[Recording]:
    reader = FrameReader(modality, KIND, stored=stored)
    pictures = FILM if encoding == "rgb8" else FILM[:, :, :, 0]
    given = [reader.add(image(one, encoding, stamp=at), 0) for at, one in zip(stamps, pictures, strict=False)]
    return [one.frame for one in given if one is not None and isinstance(one.frame, Recording)]


STEADY = [NANOSECONDS + STEP * index for index in range(25)]


@pytest.mark.parametrize("stored", [False, True])
def test_a_window_is_a_film_of_its_rate(stored: bool) -> None:
    modality = video(8, 2)  # clips of two seconds, frames of eight pixels
    (film,) = windows(modality, STEADY, stored=stored)
    np.testing.assert_array_equal(film.values, FILM[:20])
    assert film.rate == pytest.approx(10)
    np.testing.assert_array_equal(preprocess(modality, [film]), preprocess(modality, [Recording(FILM[:20], 10.0)]))


def test_grey_pictures_have_three_channels() -> None:
    (film,) = windows(video(8, 2), STEADY, "mono8")
    np.testing.assert_array_equal(film.values, np.repeat(FILM[:20, :, :, :1], 3, axis=3))


def test_pictures_at_uneven_times_are_laid_on_even_ones() -> None:
    stamps = [at for index, at in enumerate(STEADY) if not 5 <= index < 9]  # pictures that never came
    (film,) = windows(video(8, 2), [*stamps, *(STEADY[-1] + STEP * more for more in range(1, 9))])
    times = np.array([at for at in stamps if at < STEADY[20]])
    even = np.linspace(times[0], times[-1], len(times))
    nearest = np.abs(times[None] - even[:, None]).argmin(axis=1)
    np.testing.assert_array_equal(film.values, FILM[nearest])


def test_what_is_no_film() -> None:
    reader = FrameReader(video(8, 2), KIND)
    with refused("uint16"):
        reader.add(image(FILM[0, :, :, 0].astype(np.uint16), "16UC1", stamp=1), 0)
    reader = FrameReader(video(8, 2), KIND, stored=True)
    reader.add(image(FILM[0], "rgb8", stamp=NANOSECONDS), 0)
    reader.add(image(FILM[0, :4], "rgb8", stamp=2 * NANOSECONDS), 0)
    with refused("pictures of 2 sizes"):
        reader.add(image(FILM[0], "rgb8", stamp=4 * NANOSECONDS), 0)


def test_a_clip_that_is_a_whole_recording_needs_a_length() -> None:
    modality = video(8, 2).with_settings({"seconds": 0.0})
    with pytest.raises(ConfigError, match="whole recording"):
        FrameReader(modality, KIND)
    assert FrameReader(modality, KIND, seconds=3).window == 3
