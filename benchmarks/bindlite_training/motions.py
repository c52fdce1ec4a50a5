"""The imu trunk, from 40 recordings of a watch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from advcal_edge.calibrate.data.builtin.datasets import (
    MOTION_RATE,
    WINDOW,
    WINDOWS_PER_RECORDING,
    basic_motions,
    whole_motions,
)
from advcal_edge.centers import Centers
from advcal_edge.encoders.bindlite.encoder import MODALITIES, load_centers
from advcal_edge.encoders.bindlite.trunk import TRUNKS, Trunk
from advcal_edge.runtime.sensors import Recording, preprocess
from advcal_edge.stats import wilson
from bindlite_training.figures import Figures, embed, measure
from bindlite_training.learner import BATCH, Learner, store

IMU = MODALITIES["imu"]
STEPS = 600

TURN = 0.6
"""Deviation in radians of how far the watch may have slipped round the wrist."""

STRENGTH = 0.2
"""Deviation of the natural logarithm of how vigorously somebody moves."""

NOISE = 0.002
"""Fractions of full scale: 0.3 m/s2, 4 degrees a second."""


def train_motions(out: Path, steps: int, seed: int) -> list[Figures]:
    """Train, store and measure the imu trunk."""
    torch.manual_seed(seed)
    trunk, centers = Trunk(TRUNKS["imu"]), load_centers("imu")
    started = time.perf_counter()
    _fit(trunk, centers, steps, seed)
    seconds = time.perf_counter() - started
    store(trunk, out / "imu.safetensors")
    test = basic_motions("test")
    x = torch.from_numpy(preprocess(IMU, test.frames))
    facts = {
        "trained_on": "every window of the 40 recordings of BasicMotions train",
        "tested_on": f"{test.source}, {WINDOWS_PER_RECORDING} overlapping windows of each recording",
        "seed": seed,
        "steps": steps,
        "seconds": round(seconds, 1),
        "by_recording": _by_recording(embed(trunk, x), centers, test.labels),
    }
    return [measure("imu", trunk, centers, x, test.labels, facts)]


def _fit(trunk: Trunk, centers: Centers, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    windows, labels = _windows()
    learner = Learner([trunk], steps)
    for step in range(steps):
        recordings = rng.integers(0, len(windows), BATCH)
        x = _augmented(windows[recordings, rng.integers(0, windows.shape[1], BATCH)], rng)
        loss = F.cross_entropy(centers.scores(F.normalize(trunk(x), dim=-1)), labels[recordings])
        learner.descend(loss)
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}/{steps}: loss {loss.item():.4f}", flush=True)


def _windows() -> tuple[Tensor, Tensor]:
    """Each window of each training recording (40, 51, 6, 50), and the recordings' labels."""
    data = whole_motions("train")
    values = [frame.values for frame in data.frames if isinstance(frame, Recording)]
    starts = range(values[0].shape[1] - WINDOW + 1)
    frames = [Recording(whole[:, start : start + WINDOW], MOTION_RATE) for whole in values for start in starts]
    x = torch.from_numpy(preprocess(IMU, frames))
    return torch.unflatten(x, 0, (len(values), len(starts))), torch.from_numpy(data.labels)


def _augmented(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Turned about the first axis, which lies along the forearm; stronger or weaker; with noise."""
    angle = torch.from_numpy(rng.normal(0, TURN, (len(x), 1)).astype(np.float32))
    cosine, sine = angle.cos(), angle.sin()
    turned = [
        torch.stack([along, cosine * across - sine * out, sine * across + cosine * out], dim=1)
        for along, across, out in (x[:, :3].unbind(1), x[:, 3:].unbind(1))
    ]
    strength = torch.from_numpy(np.exp(rng.normal(0, STRENGTH, (len(x), 1, 1))).astype(np.float32))
    noise = torch.from_numpy(rng.normal(0, NOISE, x.shape).astype(np.float32))
    return (strength * torch.cat(turned, dim=1) + noise).clamp(*IMU.input.bounds)


def _by_recording(z: Tensor, centers: Centers, labels: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, Any]:
    """Of independent recordings, by the mean score of their windows."""
    scores = torch.unflatten(centers.scores(z), 0, (-1, WINDOWS_PER_RECORDING)).mean(dim=1)
    right = scores.argmax(dim=-1).numpy() == labels[::WINDOWS_PER_RECORDING]
    count, n = int(right.sum()), len(right)
    return {"n": n, "accuracy": count / n, "interval": wilson(count, n).to_json()}
