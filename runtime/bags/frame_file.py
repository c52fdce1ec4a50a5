"""Frames as files of the format that keeps every value, and that the sensor reads again."""

from __future__ import annotations

import io
import struct

import numpy as np

from advcal_edge.runtime.sensors.files.opencv import cv2
from advcal_edge.runtime.sensors.frame import Array, Frame, Recording
from advcal_edge.spec import Modality

MOTION_HEADER = "t,ax,ay,az,gx,gy,gz"
PCM, FLOATS = 1, 3
"""Formats of WAV."""


def write_frame(frame: Frame, modality: Modality) -> tuple[str, bytes]:
    """Suffix and bytes of the file of a frame.

    Pictures of 8 and 16 bits become png, points ply, sound wav, motion csv; floats, films and events npy.
    """
    if isinstance(frame, Recording):
        if modality.preprocess == "imu":
            return ".csv", _motion(frame)
        if modality.preprocess == "audio":
            return ".wav", _sound(frame)
        return ".npy", _array(frame.values)
    if modality.preprocess == "point":
        return ".ply", _cloud(frame)
    if modality.preprocess == "event" or frame.dtype not in (np.uint8, np.uint16):
        return ".npy", _array(frame)
    return ".png", _picture(frame)


def _array(values: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()


def _picture(frame: Array) -> bytes:
    channels = {3: [2, 1, 0], 4: [2, 1, 0, 3]}  # OpenCV writes blue first
    if frame.ndim == 3 and frame.shape[2] in channels:
        frame = np.ascontiguousarray(frame[:, :, channels[frame.shape[2]]])
    return bytes(cv2.imencode(".png", frame)[1])


def _cloud(points: Array) -> bytes:
    kind = "double" if points.dtype.itemsize == 8 else "float"
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property {kind} {axis}" for axis in "xyz"] + ["end_header", ""]
    return "\n".join(lines).encode() + points.astype("<f8" if kind == "double" else "<f4").tobytes()


def _motion(recording: Recording) -> bytes:
    times = np.arange(recording.values.shape[1]) / recording.rate
    table = np.vstack([times, recording.values]).T.tolist()
    return "\n".join([MOTION_HEADER, *(",".join(map(repr, row)) for row in table), ""]).encode()


def _sound(recording: Recording) -> bytes:
    values = np.atleast_2d(recording.values)
    form, dtype = (PCM, "<i2") if values.dtype.kind == "i" else (FLOATS, "<f4")
    raw, width, rate = values.T.astype(dtype).tobytes(), np.dtype(dtype).itemsize, round(recording.rate)
    size = width * len(values)
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, form, len(values), rate, rate * size, size, 8 * width)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", len(raw)) + raw + bytes(len(raw) % 2)
    return struct.pack("<4sI", b"RIFF", len(body)) + body
