"""The sensor of a graph: a modality by name, with the size of the input that the graph declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from advcal_edge import spec
from advcal_edge.declarations import Setting
from advcal_edge.errors import ConfigError, EngineError
from advcal_edge.runtime.backends import TensorSignature
from advcal_edge.spec import Modality

Shape = tuple[int, ...]

SIZED: Mapping[str, tuple[str, Callable[[Shape], Modality]]] = {
    "image": ("(n, 3, h, w)", lambda shape: spec.image(shape[-1])),
    "video": ("(n, 3, t, h, w)", lambda shape: spec.video(shape[-1], shape[-3])),
    "thermal": ("(n, 1, h, w)", lambda shape: spec.thermal(shape[-1])),
    "depth": ("(n, 1, h, w)", lambda shape: spec.depth(shape[-1])),
    "audio": ("(n, 1, mel, time)", lambda shape: spec.audio(shape[-2], shape[-1])),
    "imu": ("(n, 6, t)", lambda shape: spec.imu(shape[-1], 0.0)),
    "event": ("(n, 3, h, w)", lambda shape: spec.event(shape[-1])),
    "point": ("(n, p, 3)", lambda shape: spec.point(shape[-2])),
}
"""The input of each modality, and the modality with an input of that shape."""


def modality_for(name: str, tensor: TensorSignature, settings: Mapping[str, Setting], path: Path) -> Modality:
    """The modality whose input is the declared one; images may have their channels last.

    Raises:
        EngineError: a declaration that this sensor does not fit, or without a fixed size.
        ConfigError: unknown settings, or an unknown rate of motion samples.
    """
    expected, sized = SIZED[name]
    declared = tensor.shape[1:]
    if not all(isinstance(axis, int) and axis > 0 for axis in declared):
        raise EngineError(
            f"`{path}` declares the input {tensor}, whose size is open; expected {expected} with n open and all else"
            " fixed",
            hint="export it again with one size of input, and a free batch axis",
        )
    shape = tuple(axis for axis in declared if isinstance(axis, int))
    fixed = -1 if name == "point" else 0  # the axis whose length the sensor decides
    for candidate in (shape, (*shape[-1:], *shape[:-1])):  # as declared, or from channels last
        if len(candidate) == expected.count(","):
            found = sized(candidate)
            if found.input.shape[fixed] == candidate[fixed]:
                fitted = replace(found, input=replace(found.input, shape=candidate))  # not every frame is square
                return _with_settings(fitted, settings)
    raise EngineError(
        f"`{path}` declares the input {tensor}; expected {expected} of the modality `{name}`",
        hint="name the sensor: `--modality audio`, for example",
    )


def _with_settings(modality: Modality, settings: Mapping[str, Setting]) -> Modality:
    found = modality.with_settings(settings)
    if found.settings.get("rate") == 0:
        raise ConfigError(
            "a graph does not say at which rate its motion samples were taken; expected a number of hertz",
            hint="say it: `--set input.rate=200`",
        )
    return found
