"""The scenes as every sensor has them, preprocessed and kept on disk: rendering takes longer than training."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advcal_edge.calibrate.data.builtin.objects import OBJECT_NAMES
from advcal_edge.calibrate.data.builtin.rendering import render
from advcal_edge.calibrate.data.builtin.scene import draw_scene, labels_of
from advcal_edge.encoders.bindlite.encoder import MODALITIES, SCENE
from advcal_edge.probe import from_levels
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import TensorSpec

CHUNK = 250
"""Scenes a file; a run that was interrupted goes on after the last file."""

Levels = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """Scenes by modality as levels of the sensor's grid (n, *shape), and their labels (n,)."""

    levels: Mapping[str, Levels]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, modality: str, index: NDArray[np.int64] | slice) -> Tensor:
        """Physical x (n, *shape) of the scenes at `index`."""
        return torch.from_numpy(from_levels(self.levels[modality][index], MODALITIES[modality].input))


def rendered(seed: int, n: int, folder: Path, processes: int) -> Rendered:
    """The first `n` scenes of `seed`, from `folder` as far as they are there."""
    starts = range(0, n, CHUNK)
    with ProcessPoolExecutor(processes) as pool:
        files = list(pool.map(_render_chunk, repeat(seed), starts, repeat(folder)))
    levels = {modality: np.concatenate([_read(file, modality) for file in files])[:n] for modality in SCENE}
    return Rendered(levels, torch.from_numpy(labels_of(seed, n)))


def _render_chunk(seed: int, start: int, folder: Path) -> Path:
    """Write the `CHUNK` scenes from `start` on, unless they are there."""
    target = folder / f"scenes-{seed}-{start:06d}.npz"
    if target.exists():
        return target
    cv2.setNumThreads(1)
    labels = labels_of(seed, start + CHUNK)
    scenes = [draw_scene(OBJECT_NAMES[labels[index]], seed, index) for index in range(start, start + CHUNK)]
    arrays: dict[str, Levels] = {}
    for modality in SCENE:
        x = preprocess(MODALITIES[modality], [render(scene, modality) for scene in scenes])
        arrays[modality] = _levels(x, MODALITIES[modality].input, MODALITIES[modality].bit_depth)
    partial = target.with_suffix(".partial.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
    return partial.rename(target)


def _levels(x: NDArray[np.float32], spec: TensorSpec, bits: int) -> Levels:
    kind: type[np.uint8] | type[np.uint16] = np.uint8 if bits == 8 else np.uint16
    levels: Levels = np.rint((x.astype(np.float64) - spec.bounds[0]) / spec.width * np.iinfo(kind).max).astype(kind)
    if not np.array_equal(from_levels(levels, spec), x):
        raise ValueError(f"the {bits}-bit grid of `{spec.name}` does not hold what its sensor gives")
    return levels


def _read(file: Path, modality: str) -> Levels:
    with np.load(file, allow_pickle=False) as arrays:
        found: Levels = arrays[modality]
        return found
