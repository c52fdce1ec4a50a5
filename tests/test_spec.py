"""What an encoder takes, and the words in which everything else is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from advcal_edge.errors import BundleError, InputError
from advcal_edge.spec import Modality, image, thermal

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


@pytest.mark.parametrize("modality", [image(64), thermal(64)])
def test_json_round_trip(modality: Modality) -> None:
    assert Modality.from_json(json.loads(json.dumps(modality.to_json()))) == modality


def test_malformed_manifest() -> None:
    with pytest.raises(BundleError, match="malformed"):
        Modality.from_json({"name": "image", "input": {"name": "x"}})
