"""Units that ROS fixes against what a bundle declares: either way the same tensor as from a file of the same scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ros import image

from advcal_edge.runtime.messages import message_frame
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import Modality, depth, thermal

KIND = "sensor_msgs/msg/Image"
MILLIMETRES = (700 + 40 * np.indices((12, 16)).sum(axis=0)).astype(np.uint16)
MILLIMETRES[2, 3:6] = 0
METRES = np.where(MILLIMETRES == 0, np.nan, MILLIMETRES / 1000).astype(np.float32)


def tensor(pixels: NDArray[Any], encoding: str, modality: Modality) -> NDArray[np.float32]:
    return preprocess(modality, [message_frame(image(pixels, encoding), modality, KIND)])


def test_depth_of_either_encoding_is_the_same_scene() -> None:
    expected = preprocess(depth(8), [METRES])
    np.testing.assert_array_equal(tensor(MILLIMETRES, "16UC1", depth(8)), expected)
    np.testing.assert_array_equal(tensor(METRES, "32FC1", depth(8)), expected)


def test_metres_stay_metres_where_counts_have_a_declared_scale() -> None:
    modality = depth(8).with_settings({"depth_scale": "mm"})
    np.testing.assert_allclose(tensor(METRES, "32FC1", modality), preprocess(depth(8), [METRES]), atol=0.005)


def test_the_largest_count_and_declared_ones_are_holes() -> None:
    modality = depth(8).with_settings({"invalid": "1234"})
    spoilt = MILLIMETRES.copy()
    spoilt[2, 3], spoilt[2, 4] = 65535, 1234
    np.testing.assert_array_equal(tensor(spoilt, "16UC1", modality), preprocess(depth(8), [METRES]))


def test_declared_swapped_bytes() -> None:
    modality = depth(8).with_settings({"byte_order": "swapped"})
    np.testing.assert_array_equal(tensor(MILLIMETRES.byteswap(), "16UC1", modality), preprocess(depth(8), [METRES]))


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_thermal_counts_are_the_frame_itself(encoding: str) -> None:
    counts = (29300 + MILLIMETRES // 4).astype(np.uint16)
    np.testing.assert_array_equal(tensor(counts, encoding, thermal(8)), preprocess(thermal(8), [counts]))
