"""PointCloud2 against structured arrays of numpy: any order, type, padding and byte order."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from refusal import refused, taken_or_refused
from ros import LIBRARIES, cloud

from advcal_edge.runtime.messages import message_frame
from advcal_edge.runtime.messages.cloud import read_cloud
from advcal_edge.spec import point

TYPES = st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])


@st.composite
def layouts(draw: st.DrawFn) -> np.dtype[np.void]:
    """x, y, z and what else a driver sends, in any order, with gaps between them."""
    names = draw(st.permutations(["x", "y", "z", "intensity", "ring"]))
    order = draw(st.sampled_from("<>"))
    offset, formats, offsets = draw(st.integers(0, 5)), [], []
    for _ in names:
        formats.append(np.dtype(order + draw(TYPES)))
        offsets.append(offset)
        offset += formats[-1].itemsize + draw(st.integers(0, 3))
    return np.dtype({"names": list(names), "formats": formats, "offsets": offsets, "itemsize": offset})


@given(layouts(), st.integers(1, 4), st.integers(0, 5), st.integers(0, 7), st.sampled_from(sorted(LIBRARIES)))
def test_any_layout(layout: np.dtype[np.void], height: int, width: int, pad: int, library: str) -> None:
    points = np.zeros(height * width, layout)
    for index, name in enumerate(layout.names or ()):
        points[name] = np.arange(len(points)) * 3 % 50 + index
    fields = layout.fields
    assert fields is not None
    big = any(one[0].str[0] == ">" for one in fields.values())
    message = cloud(points, height=height, big=big, row_pad=pad, library=LIBRARIES[library])
    read = read_cloud(message)
    np.testing.assert_array_equal(read, np.stack([points[axis].astype(float) for axis in "xyz"], axis=1))


PACKED = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("i", "<f4")])


def drawn(count: int = 64) -> SimpleNamespace:
    points = np.zeros(count, PACKED)
    for axis in "xyz":
        points[axis] = np.random.default_rng(ord(axis)).normal(size=count)
    return cloud(points)


def test_a_cloud_reaches_the_sensor() -> None:
    assert np.asarray(message_frame(drawn(), point(32), "sensor_msgs/PointCloud2")).shape == (64, 3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"width": 65}, "bytes"),
        ({"row_step": 12}, "bytes"),
        ({"point_step": 8}, "points of 8 bytes"),
        ({"point_step": 0}, "points of 0 bytes"),
        ({"fields": []}, "none; expected x, y and z"),
        ({"height": 2**40}, "points"),
        ({"is_bigendian": "no"}, "is_bigendian"),
    ],
)
def test_what_does_not_fit(change: dict[str, object], match: str) -> None:
    message = drawn()
    vars(message).update(change)
    with refused(match):
        read_cloud(message)


@pytest.mark.parametrize("change", [{"datatype": 0}, {"datatype": 9}, {"count": 3}, {"name": "y"}, {"offset": 14}])
def test_fields_that_cannot_be(change: dict[str, object]) -> None:
    message = drawn()
    vars(message.fields[0]).update(change)
    with refused("cloud has"):
        read_cloud(message)


def test_the_fields_are_named_where_there_is_no_z() -> None:
    message = drawn()
    message.fields[2].name = "range"
    with refused("x, y, range, i; expected x, y and z"):
        read_cloud(message)


WHOLE = st.integers(-2, 70) | st.just(2**31)


@given(WHOLE, WHOLE, WHOLE, WHOLE, st.binary(max_size=1100))
def test_any_numbers(height: int, width: int, step: int, row: int, data: bytes) -> None:
    message = drawn()
    vars(message).update(height=height, width=width, point_step=step, row_step=row, data=data)
    with taken_or_refused():
        assert read_cloud(message).shape == (height * width, 3)
