"""ROS messages as libraries make them: numpy arrays (rosbags), `array.array` (rclpy), bytes and lists (mcap)."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

NANOSECONDS = 10**9


def warm_scene(*shape: int, seed: int = 0) -> NDArray[np.uint16]:
    """Frames (..., h, w) of a radiometric camera in 0.01 K: a room with something warm in it, and a little noise."""
    rows, columns = np.indices(shape[-2:])
    warm = 900 * np.exp(-((rows - shape[-2] / 3) ** 2 + (columns - shape[-1] / 2) ** 2) / 12)
    noise = np.random.default_rng(seed).integers(0, 9, shape)
    return (29300 + 8 * rows + warm + noise).astype(np.uint16)


Library = Callable[[bytes], Any]
LIBRARIES: dict[str, Library] = {
    "rosbags": lambda data: np.frombuffer(data, np.uint8),
    "rclpy": lambda data: array.array("B", data),
    "mcap": bytes,
    "mcap lists": list,
}


def header(stamp: int = 0, frame: str = "camera") -> SimpleNamespace:
    """std_msgs/Header of a stamp in nanoseconds."""
    when = SimpleNamespace(sec=stamp // NANOSECONDS, nanosec=stamp % NANOSECONDS)
    return SimpleNamespace(stamp=when, frame_id=frame)


def image(
    pixels: NDArray[Any], encoding: str, *, pad: int = 0, big: bool = False, stamp: int = 0, library: Library = bytes
) -> SimpleNamespace:
    """sensor_msgs/Image of pixels (h, w) or (h, w, c), with `pad` bytes after each row."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).reshape(height, -1)
    lines = [row.tobytes() + b"\xa5" * pad for row in rows]
    return SimpleNamespace(
        header=header(stamp),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=len(lines[0]),
        data=library(b"".join(lines)),
    )


def compressed(data: bytes, form: str, *, stamp: int = 0, library: Library = bytes) -> SimpleNamespace:
    """sensor_msgs/CompressedImage."""
    return SimpleNamespace(header=header(stamp), format=form, data=library(data))


def cloud(
    points: NDArray[Any], *, height: int = 1, big: bool = False, row_pad: int = 0, library: Library = bytes
) -> SimpleNamespace:
    """sensor_msgs/PointCloud2 of a structured array (p,)."""
    kinds = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
    assert points.dtype.fields is not None
    fields = [
        SimpleNamespace(name=name, offset=offset, datatype=kinds[dtype.str[1:]], count=1)
        for name, (dtype, offset, *_) in points.dtype.fields.items()
    ]
    raw, width = points.tobytes(), len(points) // height
    row = width * points.dtype.itemsize
    lines = [raw[row * index : row * (index + 1)] + b"\xa5" * row_pad for index in range(height)]
    return SimpleNamespace(
        header=header(),
        height=height,
        width=width,
        fields=fields,
        is_bigendian=big,
        point_step=points.dtype.itemsize,
        row_step=row + row_pad,
        data=library(b"".join(lines)),
        is_dense=True,
    )


def motion(at: int, values: Iterable[float], *, unmeasured: str = "") -> SimpleNamespace:
    """sensor_msgs/Imu of acceleration and angular rate."""
    ax, ay, az, gx, gy, gz = values
    covariance = {
        f"{name}_covariance": np.array([-1.0 if name == unmeasured else 0.0] + [0.0] * 8)
        for name in ("orientation", "angular_velocity", "linear_acceleration")
    }
    return SimpleNamespace(
        header=header(at),
        linear_acceleration=SimpleNamespace(x=ax, y=ay, z=az),
        angular_velocity=SimpleNamespace(x=gx, y=gy, z=gz),
        **covariance,
    )
