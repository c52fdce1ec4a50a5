"""A toy whose samples have partners: two numbers of an embedding say the class, four more say which sample it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from runs import Reports, verify_all
from saboteurs import sabotage
from tiny import DIM, Linear

from advcal_edge.attacks import AttackedModel
from advcal_edge.centers import Centers
from advcal_edge.probe import Probe
from advcal_edge.runtime.backends.onnx import OnnxBackend
from advcal_edge.runtime.model import EngineGradient, Runner, open_vjp
from advcal_edge.spec import image
from advcal_edge.threat import ThreatModel
from advcal_edge.verify import Budget

N, CLASSES, COARSE = 200, 6, 2
THREAT = ThreatModel("linf", 4 / 255, (0.0, 1.0))
BUDGET = Budget(
    "toy",
    ("ce",),
    {
        "pgd_steps": 5,
        "pgd_restarts": 1,
        "apgd_steps": 3,
        "apgd_restarts": 1,
        "targets": 0,
        "difference_steps": 2,
        "square_queries": 10,
        "label_queries": 10,
    },
)
INFO = {"sha256": "ab" * 32, "precision": "fp32"}


@dataclass(frozen=True)
class Toy:
    """A linear encoder as graphs in `folder`, samples that some attacks break, and their partners."""

    folder: Path
    linear: Linear
    centers: Centers
    probe: Probe

    @classmethod
    def make(cls, folder: Path) -> Toy:
        rng = np.random.default_rng(3)
        mixing = rng.standard_normal((3 * 8 * 8, DIM))
        weights, _ = np.linalg.qr(mixing - mixing.mean(axis=0))  # blind to brightness: mid-grey is the origin
        linear = Linear(image(8), weights.astype(np.float32))
        y = rng.integers(0, CLASSES, N)
        angle = 2 * np.pi * (y + rng.uniform(-0.45, 0.45, N)) / CLASSES
        fine = rng.standard_normal((N, DIM - COARSE))
        meaning = np.hstack([np.cos(angle)[:, None], np.sin(angle)[:, None], unit(fine)])
        x = np.clip(0.5 + 0.7 * meaning @ weights.T, 0, 1).astype(np.float32).reshape(N, 3, 8, 8)
        partner = unit(linear.embed(x) + 0.06 * rng.standard_normal((N, DIM))).astype(np.float32)
        corner = 2 * np.pi * np.arange(CLASSES) / CLASSES
        vectors = np.hstack([np.cos(corner)[:, None], np.sin(corner)[:, None], np.zeros((CLASSES, DIM - COARSE))])
        centers = Centers(tuple("abcdef"), vectors.astype(np.float32), 0.1, "toy")
        (folder / "forward.onnx").write_bytes(linear.forward())
        (folder / "vjp.onnx").write_bytes(linear.vjp())
        return cls(folder, linear, centers, Probe(x, y, partner))

    def attacked(self, edit: Callable[[onnx.GraphProto], None] | None = None) -> AttackedModel:
        """The honest engine, or one whose graph was edited."""
        path = self.folder / "forward.onnx"
        if edit is not None:
            path = sabotage(path, self.folder / f"{edit.__name__}.onnx", edit)
        spec = self.linear.modality.input
        runner = Runner(OnnxBackend(path), spec)
        return AttackedModel(runner, self.centers, EngineGradient(runner, open_vjp(self.folder / "vjp.onnx", spec)))

    def verify(self, **engines: AttackedModel) -> Reports:
        """Reports of these engines, held against the honest one."""
        named = {name: replace(model, info=INFO) for name, model in engines.items()}
        modality = self.linear.modality
        return verify_all(self.attacked(), named, modality, self.probe, THREAT, budget=BUDGET, margin=0.05)


def unit(vectors: Any) -> Any:
    """Rows of length one."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
