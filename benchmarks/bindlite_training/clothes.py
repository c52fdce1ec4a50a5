"""The image trunk, from all of Fashion-MNIST's training images."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from fashion_mnist_files import read_idx
from torch.nn import functional as F

from advcal_edge.calibrate.data.builtin import CLOTHES, fashion_mnist
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.centers import Centers
from advcal_edge.encoders.bindlite.encoder import MODALITIES, load_centers
from advcal_edge.encoders.bindlite.trunk import TRUNKS, Trunk
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.runtime.sensors.frame import Array
from bindlite_training.figures import Figures, measure
from bindlite_training.learner import BATCH, Learner, store

EPOCHS = 5
REACH = 2
"""Raw pixels that an image may be shifted by."""

IMAGE = MODALITIES["image"]


def train_clothes(folder: Path, out: Path, epochs: int, seed: int) -> list[Figures]:
    """Train, store and measure the image trunk; `folder` holds the original files."""
    images, labels = read_idx(folder, "train")
    data = Samples(tuple(images), labels, CLOTHES, "Fashion-MNIST train", "MIT")
    torch.manual_seed(seed)
    trunk, centers = Trunk(TRUNKS["image"]), load_centers("image")
    started = time.perf_counter()
    _fit(trunk, images, torch.from_numpy(labels), centers, epochs, seed)
    seconds = time.perf_counter() - started
    store(trunk, out / "image.safetensors")
    test = fashion_mnist("test")
    x = torch.from_numpy(preprocess(IMAGE, test.frames))
    training = {"seed": seed, "epochs": epochs, "seconds": round(seconds, 1)}
    sources = {"trained_on": f"{len(data)} of {data.source}", "tested_on": test.source}
    return [measure("image", trunk, centers, x, test.labels, {**sources, **training})]


def _fit(trunk: Trunk, images: Array, labels: torch.Tensor, centers: Centers, epochs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    learner = Learner([trunk], epochs * (len(images) // BATCH))
    for epoch in range(epochs):
        total, order = 0.0, rng.permutation(len(images))
        for at in range(0, len(images) - BATCH + 1, BATCH):
            index = order[at : at + BATCH]
            x = torch.from_numpy(preprocess(IMAGE, [_augmented(images[i], rng) for i in index]))
            loss = F.cross_entropy(centers.scores(F.normalize(trunk(x), dim=-1)), labels[index])
            learner.descend(loss)
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / (len(images) // BATCH):.4f}", flush=True)


def _augmented(frame: Array, rng: np.random.Generator) -> Array:
    """Mirror half of the frames and shift each by up to `REACH` raw pixels."""
    if rng.random() < 0.5:
        frame = frame[:, ::-1]
    top, left = rng.integers(0, 2 * REACH + 1, 2)
    grown = np.pad(frame, REACH, mode="edge")
    return grown[top : top + frame.shape[0], left : left + frame.shape[1]]
