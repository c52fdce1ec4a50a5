"""Motion to tensors: acceleration and angular rate as fractions of the sensor's full scale.

Bounds [-1, 1], 16 bits: the steps of a 16-bit converter. With the default full scales, 16 g and 2000 degrees per
second, eps 4/255 lets each axis change by 3.1 % of full scale: 4.92 m/s2, 1.09 rad/s (63 degrees/s).

Values beyond full scale saturate, before resampling, as in the sensor. Clips are spread from start to end of a
recording; a single one is in its middle. A recording shorter than a clip is padded with its last values, since zeros
would mean free fall. Resampling filters frequencies that the lower rate cannot represent.
"""

from __future__ import annotations

import os
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors.files.motion_file import read_motion
from advcal_edge.runtime.sensors.frame import Frame, Recording, describe
from advcal_edge.runtime.sensors.grid import snap
from advcal_edge.runtime.sensors.motion_time import RATES
from advcal_edge.runtime.sensors.motion_units import AXES, SI, TIME, declared_columns, in_si
from advcal_edge.runtime.sensors.plausible_motion import check_units
from advcal_edge.runtime.sensors.resample import clip_starts, resample, resampled_length
from advcal_edge.spec import Modality

EXPECTED = "a recording of floats (6, t): acceleration x, y, z in m/s2 and angular rate x, y, z in rad/s"

ROWS = "give all six axes as floats, (6, t); a sensor without a gyroscope is not enough"


def check_imu(frame: object, where: str, modality: Modality) -> Recording:
    """Return the recording of motion in `frame`, (6, t) in m/s2 and rad/s.

    Raises:
        InputError: not a recording, another shape or dtype, no rate or an absurd one, too long, fewer than two samples,
            NaN, an axis beyond full scale most of the time, or values that contradict their unit.
        ConfigError: the columns that are declared are none.
    """
    columns = declared_columns(modality)
    if isinstance(frame, np.ndarray) and TIME in columns:
        frame = Recording(frame, 0.0)
    if not isinstance(frame, Recording):
        hint = "give its rate: `Recording(samples, 200)`, samples (6, t)"
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    values = frame.values
    plain = isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind == "f"
    if not plain or (len(values) != len(AXES) and (frame.unit == SI or not columns)):
        hint = ROWS
        if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == len(AXES):
            hint = "samples come last: `samples.T`"
        elif isinstance(values, np.ndarray) and values.dtype.kind in "iu":
            hint = (
                "counts are given as floats, `counts.astype('f4')`; `input.accel_unit` and `input.gyro_unit` scale them"
            )
        elif isinstance(values, np.ndarray) and values.ndim == 2 and len(values) > len(AXES):
            hint = "say what each row is: `--set input.columns=t,ax,ay,az,gx,gy,gz`, `-` for what is left out"
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    frame = in_si(frame, where, modality)
    values = frame.values
    if frame.rate == 0:
        raise InputError(
            f"{where} is {describe(frame)}, without timestamps; expected its rate",
            hint="add a column `t` with its time, or say it: `--set input.file_rate=200`",
        )
    if not RATES[0] <= frame.rate <= RATES[1]:
        raise InputError(
            f"{where} is {describe(frame)}; expected a rate of {RATES[0]:g} to {RATES[1]:g} Hz",
            hint="give hertz: `Recording(samples, 200)`",
        )
    if values.shape[1] < 2:
        raise InputError(f"{where} is {describe(frame)}; expected 2 samples an axis or more", hint="record for longer")
    limits.MOTION_SAMPLES.check(values.shape[1], where, InputError)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(
            f"{where} holds {bad} NaN or infinite values; expected {EXPECTED}",
            hint="samples that were lost are left out, with their rows; a column `t` tells where",
        )
    if not modality.assumes_units:
        check_units(frame, where, modality)
    beyond = (np.abs(values) > _full_scale(modality)).mean(axis=1)
    if beyond.max() > 0.5:
        raise InputError(
            f"{where} is beyond full scale in {beyond.max():.0%} of the samples of axis {beyond.argmax()};"
            f" expected less than half: {EXPECTED}",
            hint="declare `input.accel_unit` and `input.gyro_unit` (g, mg; deg/s, mdeg/s; or the size of one count), or"
            " set `input.accel_full_scale` and `input.gyro_full_scale`",
        )
    return frame


def imu_tensors(recording: Recording, modality: Modality, clips: int) -> NDArray[np.float32]:
    """A checked recording as (clips, 6, samples) within [-1, 1], on the 16-bit grid."""
    axes, samples = modality.input.shape
    rate = modality.number("rate")
    if not RATES[0] <= rate <= RATES[1]:
        raise ConfigError(f"`input.rate` is {rate:g}; expected {RATES[0]:g} to {RATES[1]:g} Hz")
    shares = np.clip(recording.values / _full_scale(modality), -1, 1)
    length = resampled_length(shares.shape[1], recording.rate, rate)
    batch = np.empty((clips, axes, samples))
    for index, start in enumerate(clip_starts(length, 1, samples, clips)):
        batch[index] = resample(shares, recording.rate, rate, start, samples, hold=True)
    return snap(batch, modality)


def _full_scale(modality: Modality) -> NDArray[np.float64]:
    """Full scale of each axis, (6, 1), in m/s2 and rad/s."""
    accel, gyro = modality.number("accel_full_scale"), modality.number("gyro_full_scale")
    if not (accel > 0 and gyro > 0):
        raise ConfigError(
            f"`input.accel_full_scale` is {accel:g}, `input.gyro_full_scale` {gyro:g}; expected positive m/s2 and rad/s"
        )
    return np.repeat([accel, gyro], 3)[:, None]


class _Imu:
    """Implements `Sensor`."""

    frame_axes = 2

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        return read_motion(path, modality)

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_imu(frame, where, modality)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        return imu_tensors(cast(Recording, frame), modality, clips)


IMU = _Imu()
