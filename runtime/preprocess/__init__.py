"""Raw sensor frames to physical tensors; the only place that preprocesses, for calibration and for the device alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.preprocess.frame import Frame, describe
from advcal_edge.runtime.preprocess.image import check_image, image_tensor
from advcal_edge.runtime.preprocess.reader import decode_file
from advcal_edge.runtime.preprocess.thermal import check_thermal, thermal_tensor
from advcal_edge.spec import Modality

__all__ = ["Frame", "preprocess", "read_frame"]


class _Steps(NamedTuple):
    check: Callable[[object, str], Frame]
    tensor: Callable[[Frame, tuple[int, ...]], NDArray[np.float32]]


_STEPS = {
    "image": _Steps(check_image, image_tensor),
    "thermal": _Steps(check_thermal, thermal_tensor),
}


def preprocess(modality: Modality, frames: Sequence[Frame] | Frame) -> NDArray[np.float32]:
    """Raw frames of any sizes to one physical batch (n, *modality.input.shape) inside its bounds, not normalised.

    Raises:
        InputError: a frame is not what the sensor gives; the message names its index.
        ConfigError: the modality asks for a preprocessing that does not exist.
    """
    steps = _steps(modality)
    if isinstance(frames, np.ndarray) and (frames.ndim < 3 or (frames.ndim == 3 and frames.shape[2] <= 4)):
        raise InputError(
            f"frames are one array {describe(frames)}; expected a sequence of frames",
            hint="pass one frame as `[frame]`",
        )
    shape = modality.input.shape
    batch = np.empty((len(frames), *shape), np.float32)
    for index, frame in enumerate(frames):
        batch[index] = steps.tensor(steps.check(frame, f"frame {index}"), shape)
    return batch


def read_frame(path: str | os.PathLike[str], modality: Modality) -> Frame:
    """The raw frame in a png, jpeg, bmp, webp, tiff or .npy file, colours as RGB, ready for `preprocess`.

    Raises:
        InputError: the file is unreadable, or holds no frame of this modality; the message names it.
        ConfigError: the modality asks for a preprocessing that does not exist.
    """
    return _steps(modality).check(decode_file(path), f"`{os.fspath(path)}`")


def _steps(modality: Modality) -> _Steps:
    try:
        return _STEPS[modality.preprocess]
    except KeyError:
        raise ConfigError(
            f"modality `{modality.name}` asks for the preprocessing `{modality.preprocess}`, which does not exist",
            hint=f"there is: {', '.join(_STEPS)}",
        ) from None
