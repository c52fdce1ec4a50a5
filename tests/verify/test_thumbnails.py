"""Pictures of every sensor, read back from their PNG."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from advcal_edge.spec import (
    MODALITIES,
    Modality,
    TensorSpec,
    audio,
    depth,
    event,
    image,
    imu,
    point,
    thermal,
    video,
)
from advcal_edge.verify.checks.comparison import round_to_grid
from advcal_edge.verify.thumbnails import can_show, views

SENSORS = (image(16), video(16, 8), thermal(16), depth(16), audio(16, 40), imu(50, 100.0), event(16), point(64))
KINDS = ("clean", "difference", "adversarial")


def pixels(text: str) -> NDArray[np.uint8]:
    found = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.asarray(found, np.uint8)


def seen(modality: Modality, clean: NDArray[Any], adversarial: NDArray[Any]) -> dict[str, NDArray[np.uint8]]:
    shown = views(clean.astype(np.float32), adversarial.astype(np.float32), modality)
    return {kind: pixels(shown[kind]) for kind in KINDS}


def test_every_sensor_is_tried() -> None:
    assert {modality.name for modality in SENSORS} == set(MODALITIES)


@pytest.mark.parametrize("modality", SENSORS, ids=lambda modality: modality.name)
def test_three_pictures_of_one_size_show_what_changed(modality: Modality) -> None:
    assert can_show(modality)
    rng = np.random.default_rng(0)
    clean = rng.uniform(0.2, 0.8, modality.input.shape)
    shown = seen(modality, clean, clean + rng.choice([-0.05, 0.05], clean.shape))
    assert len({picture.shape for picture in shown.values()}) == 1
    assert (shown["clean"] != shown["adversarial"]).any()
    again = seen(modality, clean, clean)
    np.testing.assert_array_equal(again["clean"], again["adversarial"])
    np.testing.assert_array_equal(again["clean"], shown["clean"])


def test_no_change_is_mid_grey() -> None:
    for modality in (image(16), thermal(16), video(16, 4)):
        clean = np.random.default_rng(0).uniform(0, 1, modality.input.shape)
        assert set(np.unique(seen(modality, clean, clean)["difference"])) == {128}


def test_low_frequencies_lie_at_the_bottom() -> None:
    tone = np.zeros((1, 20, 30))
    tone[0, :3] = 1
    shown = seen(audio(20, 30), tone, tone)["clean"].astype(int).sum(axis=2)
    assert shown[-3:].min() > shown[:-3].max()


def test_a_clip_becomes_frames_from_first_to_last() -> None:
    clip = np.zeros((3, 5, 16, 16))
    clip += np.linspace(0, 1, 5)[None, :, None, None]
    shown = seen(video(16, 5), clip, clip)["clean"]
    assert shown.shape == (16, 48, 3)
    assert [int(shown[8, x, 0]) for x in (8, 24, 40)] == [0, 128, 255]


def test_palettes_colour_one_channel() -> None:
    ramp = np.linspace(0, 1, 16 * 16).reshape(1, 16, 16)
    for modality in (thermal(16), depth(16)):
        shown = seen(modality, ramp, ramp)
        assert (shown["clean"][..., 0] != shown["clean"][..., 2]).any()
        assert (shown["difference"][..., 0] == shown["difference"][..., 2]).all()


def test_long_recordings_are_shrunk_and_called_wide() -> None:
    modality = audio(64, 2000)
    clean = np.random.default_rng(0).uniform(0, 1, modality.input.shape).astype(np.float32)
    shown = views(clean, clean, modality)
    assert shown["wide"]
    assert pixels(shown["clean"]).shape[1] == 512
    assert not views(np.zeros((3, 16, 16), np.float32), np.zeros((3, 16, 16), np.float32), image(16))["wide"]


def test_a_sensor_at_rest_is_drawn_as_a_line() -> None:
    still = np.full((6, 50), 0.5)
    shown = seen(imu(50, 100.0), still, still)
    assert {picture.shape for picture in shown.values()} == {(240, 384, 3)}
    assert (shown["clean"][40, 20:170] < 200).any(axis=-1).all()  # in the middle of the first plot


def test_unknown_sensors_show_frames_or_nothing() -> None:
    def other(*shape: int) -> Modality:
        return Modality("radar", TensorSpec("x", shape, "float32", "any", (0.0, 1.0), "echo"), "radar", 8)

    assert can_show(other(1, 8, 8))
    assert not can_show(other(2, 8, 8))
    assert not can_show(other(100))
    assert seen(other(1, 8, 8), np.ones((1, 8, 8)), np.ones((1, 8, 8)))["clean"].min() == 255


def test_the_grid_is_the_sensors() -> None:
    x = np.linspace(0, 1, 1000, dtype=np.float32)
    np.testing.assert_allclose(round_to_grid(x, image(8)) * 255, np.rint(x * 255), atol=1e-4)
