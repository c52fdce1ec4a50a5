"""What an encoder takes, and the words in which everything else is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from advcal_edge.errors import BundleError, ConfigError, InputError
from advcal_edge.spec import MODALITIES, Modality, TensorSpec, audio, depth, event, image, imu, point, thermal, video

X = np.full((2, 3, 8, 8), 0.5, dtype=np.float32)


def test_a_legal_batch_comes_back_as_it_is() -> None:
    assert image(8).input.check(X) is X
    empty = X[:0]
    assert image(8).input.check(empty) is empty


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (X.tolist(), "a list; expected a numpy array"),
        (X[0], r"\(3, 8, 8\); expected float32 \(n, 3, 8, 8\)"),
        (X[:, :1], r"\(2, 1, 8, 8\); expected"),
        (X.astype(np.float64), "float64"),
        (np.full_like(X, np.nan), "384 NaN or infinite values"),
        (np.full_like(X, np.inf), "384 NaN or infinite values"),
        (X * 255, r"spans \[127.5, 127.5\]"),
        (X - 1, r"spans \[-0.5, -0.5\]"),
    ],
)
def test_everything_else_is_refused_in_words(x: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        image(8).input.check(x)


def test_a_missing_batch_axis_is_named() -> None:
    with pytest.raises(InputError) as caught:
        image(8).input.check(X[0])
    assert caught.value.hint == "add the batch axis: `x[None]`"


EVERY = [
    image(64), video(64, 2), thermal(64), depth(64), audio(128, 204), imu(2000, 200.0), event(64), point(256)
]  # fmt: skip


def test_every_sensor_has_a_constructor() -> None:
    assert tuple(modality.name for modality in EVERY) == MODALITIES


def test_settings_change_by_name_only() -> None:
    changed = depth(64).with_settings({"baseline_m": 0.05})
    assert changed.settings["baseline_m"] == 0.05
    assert changed.settings["focal_px"] == depth(64).settings["focal_px"]
    with pytest.raises(ConfigError, match="has no setting `basline_m`; expected one of: `baseline_m`"):
        depth(64).with_settings({"basline_m": 0.05})
    with pytest.raises(ConfigError, match=r"`input\.baseline_m` is nan"):
        depth(64).with_settings({"baseline_m": float("nan")})


@pytest.mark.parametrize("modality", EVERY)
def test_json_round_trip(modality: Modality) -> None:
    assert Modality.from_json(json.loads(json.dumps(modality.to_json()))) == modality


def test_malformed_manifest() -> None:
    with pytest.raises(BundleError, match="malformed"):
        Modality.from_json({"name": "image", "input": {"name": "x"}})


@given(
    arrays(
        np.float32, (2, 1, 2, 2), elements=st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0, 1.0000001, 1e-45])
    ),
    st.sampled_from([(0.0, 1.0), (0.0, 12.5), (-1.0, 1.0), (-16.0, 12.0)]),
)
def test_bounds_are_those_of_the_numbers_and_not_of_their_bits(
    x: NDArray[np.float32], bounds: tuple[float, float]
) -> None:
    spec = TensorSpec("x", (1, 2, 2), "float32", "chw", bounds, "unit")
    if all(bounds[0] <= float(value) <= float(np.float32(bounds[1])) for value in x.ravel()):
        assert spec.check(x) is x
    else:
        with pytest.raises(InputError):
            spec.check(x)
