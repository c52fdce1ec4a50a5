"""Split samples into training and held out: stratified, seeded, with equal frames on the same side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import Frame, Recording


def split(samples: Samples, held_out: float, seed: int, *, digests: Sequence[str]) -> tuple[Samples, Samples]:
    """Training and held-out samples, the latter about `held_out` of each class; frames of equal digest stay together.

    Raises:
        InputError: a class has fewer than two different frames.
    """
    chosen = split_mask(samples.labels, samples.names, samples.source, held_out, seed, digests=digests)
    return samples.take(np.flatnonzero(~chosen)), samples.take(np.flatnonzero(chosen))


def split_mask(
    labels: NDArray[np.int64], names: Sequence[str], source: str, held_out: float, seed: int, *, digests: Sequence[str]
) -> NDArray[np.bool_]:
    """Which samples (n,) of `labels` (n,) are held out; those of equal digest stay together.

    Raises:
        InputError: a class has fewer than two different digests.
    """
    groups: dict[str, list[int]] = {}
    for index, digest in enumerate(digests):
        groups.setdefault(digest, []).append(index)
    rng = np.random.default_rng([seed, 0])
    aside: list[int] = []
    for label, name in enumerate(names):
        own = [rows for rows in groups.values() if labels[rows[0]] == label]
        if len(own) < 2:
            raise InputError(
                f"the class `{name}` of `{source}` has {len(own)} different frame; expected at least two,"
                " one to train on and one to hold out"
            )
        wanted, taken = held_out * sum(map(len, own)), 0
        for place in rng.permutation(len(own))[:-1]:  # the last one stays for training
            if taken and taken >= wanted:
                break
            aside += own[place]
            taken += len(own[place])
    chosen = np.zeros(len(labels), dtype=np.bool_)
    chosen[aside] = True
    return chosen


def stratified_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A random order (n,) in which every prefix has nearly the overall shares of the classes."""
    rng = np.random.default_rng([seed, 1])
    position = np.empty(len(labels))
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        position[rows] = (np.arange(len(rows)) + rng.random(len(rows))) / len(rows)
    return np.argsort(position, kind="stable")


def frame_sha256(frame: Frame) -> str:
    """Hash of a frame's shape, type and values."""
    if isinstance(frame, Recording):
        return arrays_sha256(frame.values, np.array(frame.rate))
    return arrays_sha256(frame)


def arrays_sha256(*arrays: NDArray[Any]) -> str:
    """Hash over shapes, types and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
