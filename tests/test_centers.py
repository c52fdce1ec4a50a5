"""Centers survive the disk, refuse nonsense and score on numpy and torch alike."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from advcal_edge.centers import Centers
from advcal_edge.errors import BundleError, InputError
from advcal_edge.storage import sha256_bytes

VECTORS = np.eye(3, 5, dtype=np.float32)
CENTERS = Centers(("cat", "dog", "drone"), VECTORS, 0.05, "test")


def test_disk_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "centers.safetensors"
    path.write_bytes(CENTERS.to_bytes())
    back = Centers.load(path)
    assert (back.labels, back.temperature, back.source) == (CENTERS.labels, CENTERS.temperature, CENTERS.source)
    np.testing.assert_array_equal(back.vectors, CENTERS.vectors)


def test_same_centers_same_bytes_in_another_process() -> None:
    code = (
        "import numpy as np; from advcal_edge.centers import Centers; from advcal_edge.storage import sha256_bytes;"
        "c = Centers(('cat', 'dog', 'drone'), np.eye(3, 5, dtype=np.float32), 0.05, 'test');"
        "print(sha256_bytes(c.to_bytes()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sha256_bytes(CENTERS.to_bytes())


def test_scores_on_numpy_and_torch() -> None:
    z = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_allclose(CENTERS.scores(z), CENTERS.scores(torch.tensor(z)).numpy(), rtol=1e-6)
    np.testing.assert_array_equal(CENTERS.predict(z), (z @ VECTORS.T).argmax(1))


def test_an_embedding_that_is_not_finite_has_no_class() -> None:
    z = np.eye(3, 5, dtype=np.float32)
    z[0], z[2, 1] = np.nan, np.inf
    np.testing.assert_array_equal(CENTERS.predict(z), [-1, 1, -1])
    np.testing.assert_array_equal(CENTERS.predict(torch.tensor(z)).numpy(), [-1, 1, -1])


def test_subset_keeps_the_asked_order() -> None:
    subset = CENTERS.subset(("drone", "cat"))
    np.testing.assert_array_equal(subset.vectors, VECTORS[[2, 0]])
    with pytest.raises(InputError, match="no center for `fish`"):
        CENTERS.subset(("cat", "fish"))


@pytest.mark.parametrize(
    ("labels", "vectors", "temperature", "words"),
    [
        (("a", "b"), VECTORS, 1.0, "one row a label"),
        (("a",), VECTORS[:1], 1.0, "at least two"),
        (("a", "a"), VECTORS[:2], 1.0, "same label"),
        (("a", "b"), 2 * VECTORS[:2], 1.0, "unit norm"),
        (("a", "b"), VECTORS[:2], 0.0, "positive"),
    ],
)
def test_nonsense_is_refused(labels: tuple[str, ...], vectors: np.ndarray, temperature: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Centers(labels, vectors, temperature, "test")


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "centers.safetensors"
    for content in (b"", b"not safetensors at all", CENTERS.to_bytes()[:-7]):
        path.write_bytes(content)
        with pytest.raises(BundleError, match="holds no centers"):
            Centers.load(path)


SEVERAL = Centers(("cat", "dog"), np.eye(5, dtype=np.float32)[[0, 1, 2, 3]].reshape(2, 2, 5), 0.5, "test")


def test_of_several_centers_the_nearest_decides() -> None:
    z = np.array([[0.1, 0.9, 0, 0.8, 0], [0.6, 0.6, 0, 0.7, 0]], np.float32)
    np.testing.assert_allclose(SEVERAL.scores(z), [[1.8, 1.6], [1.2, 1.4]], rtol=1e-6)
    np.testing.assert_array_equal(SEVERAL.predict(z), [0, 1])
    np.testing.assert_array_equal(SEVERAL.predict(torch.tensor(z)).numpy(), [0, 1])
    assert (SEVERAL.per_class, SEVERAL.dim) == (2, 5)


def test_the_smooth_maximum_lies_between_mean_and_maximum_and_tends_to_it() -> None:
    z = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    each = (z @ SEVERAL.like(z).T / 0.5).reshape(20, 2, 2)
    for softness in (1.0, 0.1):
        smooth = replace(SEVERAL, softness=softness).smooth_scores(z)
        assert (smooth <= each.max(-1) + 1e-5).all()
        assert (smooth >= each.mean(-1) - 1e-5).all()
    np.testing.assert_allclose(replace(SEVERAL, softness=1e-3).smooth_scores(z), each.max(-1), atol=1e-3)
    np.testing.assert_array_equal(SEVERAL.smooth_scores(z), SEVERAL.scores(z))


def test_several_centers_survive_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "centers.safetensors"
    path.write_bytes(replace(SEVERAL, softness=0.25).to_bytes())
    loaded = Centers.load(path)
    np.testing.assert_array_equal(loaded.vectors, SEVERAL.vectors)
    assert (loaded.softness, loaded.labels) == (0.25, ("cat", "dog"))
    assert loaded.subset(("dog", "cat")).vectors.shape == (2, 2, 5)
