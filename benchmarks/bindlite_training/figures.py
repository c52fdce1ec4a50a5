"""What the model card says of a trunk, measured on the rounded weights."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.centers import Centers
from advcal_edge.stats import wilson

Figures = dict[str, Any]
PER_PASS = 100


def embed(trunk: nn.Module, x: Tensor) -> Tensor:
    """Unit-norm embeddings (n, d)."""
    with torch.no_grad():
        return torch.cat([F.normalize(trunk(part), dim=-1) for part in torch.split(x, PER_PASS)])


def measure(
    modality: str, trunk: nn.Module, centers: Centers, x: Tensor, labels: NDArray[np.int64], facts: Mapping[str, Any]
) -> Figures:
    """Clean accuracy of a frozen trunk, beside the `facts` of its training."""
    right = centers.predict(embed(trunk, x)).numpy() == labels
    parameters = sum(parameter.numel() for parameter in trunk.parameters())
    return {
        "modality": modality,
        **facts,
        "n": len(labels),
        **share(right),
        "accuracy_by_class": {name: float(right[labels == k].mean()) for k, name in enumerate(centers.labels)},
        "parameters": parameters,
        "megabytes": round((2 * parameters) / 1e6, 2),
        "machine": machine(),
    }


def write(figures: Figures, folder: Path) -> None:
    """Keep the figures as `bindlite.MODALITY.json`."""
    (folder / f"bindlite.{figures['modality']}.json").write_text(json.dumps(figures, indent=2) + "\n")


def machine() -> str:
    """The processor, as Linux names it, and the threads used."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].split(":", 1)[1].strip() if names else platform.machine()
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def share(right: NDArray[np.bool_]) -> Figures:
    """Fraction and 95 % Wilson interval."""
    return {"accuracy": float(right.mean()), "interval": wilson(int(right.sum()), len(right)).to_json()}
