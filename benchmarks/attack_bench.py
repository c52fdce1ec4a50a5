"""One model, some samples, one ball, and a clock, for `benchmarks/attacks.py`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from attack_libraries import Craft
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.attacks import Attack, AttackedModel, run_attack
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.data.builtin import fashion_mnist
from advcal_edge.calibrate.deploy import module_from_bundle
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import Centers
from advcal_edge.encoders.bindlite import Bindlite
from advcal_edge.report.table import percent, percent_interval
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import TensorSpec
from advcal_edge.stats import wilson
from advcal_edge.threat import ThreatModel

T = TypeVar("T")
Masks = NDArray[np.bool_]


class Embed(nn.Module):
    """A trunk with unit-norm output."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.trunk(x), dim=-1)


class Scores(nn.Module):
    """What other libraries call a model: embeddings scored against the centers."""

    def __init__(self, embed: nn.Module, centers: Centers) -> None:
        super().__init__()
        self.embed, self.temperature = embed, centers.temperature
        self.register_buffer("centers", torch.from_numpy(centers.vectors))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x) @ self.centers.T / self.temperature


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What is attacked, and how it is judged: by the labels of `scores`."""

    model: AttackedModel
    scores: nn.Module
    x: Tensor
    y: Tensor
    threat: ThreatModel
    batch: int

    def take(self, rows: Any) -> Bench:
        """Some of the samples."""
        return replace(self, x=self.x[rows], y=self.y[rows])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.model.centers.labels)

    def right(self, x: Tensor) -> Masks:
        """Where the label is right."""
        with torch.no_grad():
            labels = [self.scores(part).argmax(dim=1) for part in torch.split(x, self.batch)]
        return (torch.cat(labels) == self.y).numpy()

    def ours(self, attack: Attack) -> Masks:
        """Where an attack of this package has failed."""
        x, y = self.x.numpy(), self.y.numpy()
        found = run_attack(attack, self.model, x, y, self.threat, route="", seed=0, batch=self.batch)
        return ~found.success

    def theirs(self, craft: Craft) -> Masks:
        """Where an attack of another library has failed; it may not leave the ball."""
        parts = zip(torch.split(self.x, self.batch), torch.split(self.y, self.batch), strict=True)
        x_adv = torch.cat([craft(self.scores, x, y, self.threat.radius).detach() for x, y in parts])
        farthest = float(self.threat.distance(x_adv, self.x).max())
        if farthest > self.threat.eps * 1.001:
            raise SystemExit(f"an attack left the ball: {farthest:g} > {self.threat.eps:g}")
        return self.right(x_adv)


def load(path: Path | None, samples: int, threat: ThreatModel, batch: int) -> Bench:
    """The frozen bindlite image encoder, or the module of a bundle, and Fashion-MNIST test images."""
    if path is None:
        encoder = Bindlite.load("image")
        module, modality, centers = Embed(encoder.module()), encoder.modality, encoder.centers()
    else:
        bundle = Bundle.open(path)
        module, modality, centers = module_from_bundle(bundle), bundle.modality, bundle.centers()
    data = fashion_mnist("test")
    rows = np.random.default_rng(0).permutation(len(data.labels))[:samples]
    x = torch.from_numpy(preprocess(modality, [data.frames[i] for i in rows]))
    return bench_of(module, modality.input, centers, x, torch.from_numpy(data.labels[rows]), threat, batch)


def bench_of(
    module: nn.Module, spec: TensorSpec, centers: Centers, x: Tensor, y: Tensor, threat: ThreatModel, batch: int
) -> Bench:
    """A module from x to unit-norm embeddings, as our attacks see it and as other libraries do."""
    module = module.eval().requires_grad_(False)
    return Bench(TorchRunner(module, spec).attacked(centers), Scores(module, centers).eval(), x, y, threat, batch)


def timed(run: Callable[[], T]) -> tuple[T, float]:
    """Result and processor seconds."""
    start = time.process_time()
    found = run()
    return found, time.process_time() - start


def record(right: Masks, seconds: float) -> dict[str, Any]:
    """Counts, share, interval and seconds."""
    interval = wilson(int(right.sum()), len(right))
    return {
        "right": int(right.sum()),
        "n": len(right),
        "accuracy": float(right.mean()),
        "interval": interval.to_json(),
        "seconds": round(seconds, 2),
    }


def line(attack: str, library: str, found: dict[str, Any]) -> list[str]:
    """One row of a table."""
    interval = percent_interval(*found["interval"])
    return [attack, library, percent(found["accuracy"]), interval, f"{found['seconds']:.1f}"]


def ratio(first: Callable[[], Any], second: Callable[[], Any], pairs: int) -> dict[str, Any]:
    """Median of the paired ratios of seconds, `second` over `first`, the order turned every time."""
    found = []
    for turn in range(pairs):
        if turn % 2:
            later = timed(second)[1]
            found.append(later / timed(first)[1])
        else:
            earlier = timed(first)[1]
            found.append(timed(second)[1] / earlier)
    return {"ratio": statistics.median(found), "smallest": min(found), "largest": max(found), "pairs": pairs}
