"""The sensor of a graph is found from its declared input."""

from __future__ import annotations

from pathlib import Path

import pytest

from advcal_edge.errors import ConfigError, EngineError
from advcal_edge.pair.sensor import SIZED, modality_for
from advcal_edge.runtime.backends import TensorSignature
from advcal_edge.spec import MODALITIES

Axes = tuple[int | str | None, ...]


def declared(*axes: int | str | None) -> TensorSignature:
    return TensorSignature("x", "float32", ("n", *axes))


@pytest.mark.parametrize(
    ("name", "axes", "shape"),
    [
        ("image", (3, 224, 224), (3, 224, 224)),
        ("image", (3, 480, 640), (3, 480, 640)),
        ("image", (224, 224, 3), (3, 224, 224)),
        ("video", (3, 8, 112, 112), (3, 8, 112, 112)),
        ("thermal", (1, 120, 160), (1, 120, 160)),
        ("thermal", (120, 160, 1), (1, 120, 160)),
        ("depth", (1, 64, 64), (1, 64, 64)),
        ("audio", (1, 128, 204), (1, 128, 204)),
        ("imu", (6, 200), (6, 200)),
        ("event", (3, 64, 64), (3, 64, 64)),
        ("point", (1024, 3), (1024, 3)),
    ],
)
def test_size_is_that_of_the_declared_input(name: str, axes: Axes, shape: tuple[int, ...]) -> None:
    settings = {"rate": 200.0} if name == "imu" else {}
    found = modality_for(name, declared(*axes), settings, Path("g.onnx"))
    assert (found.name, found.input.shape) == (name, shape)
    assert all(found.settings[key] == value for key, value in settings.items())


def test_every_modality_has_a_size() -> None:
    assert set(SIZED) == set(MODALITIES)


@pytest.mark.parametrize(
    ("name", "axes"), [("image", (1, 8, 8)), ("thermal", (3, 8, 8)), ("imu", (5, 100)), ("image", (8,))]
)
def test_another_sensor_is_refused(name: str, axes: Axes) -> None:
    with pytest.raises(EngineError, match=f"of the modality `{name}`"):
        modality_for(name, declared(*axes), {"rate": 1.0} if name == "imu" else {}, Path("g.onnx"))


def test_an_open_size_and_an_unknown_rate_are_refused() -> None:
    with pytest.raises(EngineError, match="whose size is open"):
        modality_for("image", declared(3, "h", 32), {}, Path("g.onnx"))
    with pytest.raises(ConfigError, match="at which rate"):
        modality_for("imu", declared(6, 100), {}, Path("g.onnx"))
