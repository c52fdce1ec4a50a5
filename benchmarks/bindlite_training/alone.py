"""A thermal trunk trained alone, which the six trunks of the scenes start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from advcal_edge.calibrate.data.builtin import scene_samples
from advcal_edge.encoders.bindlite.encoder import MODALITIES, load_centers
from advcal_edge.encoders.bindlite.trunk import TRUNKS, Trunk
from advcal_edge.runtime.sensors import preprocess
from bindlite_training.learner import BATCH, Learner, store
from bindlite_training.scenes import SEEDS

SCENES = 16_000
EPOCHS = 10


def train_alone(target: Path, scenes: int, epochs: int, seed: int) -> None:
    """Train a thermal trunk on its own scenes, and store it as `target`."""
    data = scene_samples("thermal", SEEDS["train"], scenes)
    x, labels = torch.from_numpy(preprocess(MODALITIES["thermal"], data.frames)), torch.from_numpy(data.labels)
    torch.manual_seed(seed)
    rng, trunk, centers = np.random.default_rng(seed), Trunk(TRUNKS["thermal"]), load_centers("thermal")
    learner = Learner([trunk], epochs * (scenes // BATCH))
    for epoch in range(epochs):
        total, order = 0.0, rng.permutation(scenes)
        for at in range(0, scenes - BATCH + 1, BATCH):
            index = order[at : at + BATCH]
            mirrored = torch.from_numpy(rng.random(BATCH) < 0.5)[:, None, None, None]
            z = F.normalize(trunk(torch.where(mirrored, x[index].flip(-1), x[index])), dim=-1)
            loss = F.cross_entropy(centers.scores(z), labels[index])
            learner.descend(loss)
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / (scenes // BATCH):.4f}", flush=True)
    store(trunk, target)
