"""Fidelity of exported graphs: compare a graph with its module on real samples, and refuse a broken one.

These limits only detect broken graphs. Whether a precision is good enough is decided by the parity verdict, which
compares decisions under attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from advcal_edge.errors import ExportError, FidelityError, first_line
from advcal_edge.export.conversion import Limit
from advcal_edge.export.forward import freeze
from advcal_edge.export.vjp import pull_back
from advcal_edge.runtime.backends.onnx import EXACT_INT8

Floats = NDArray[np.float32]

BATCH_SIZE = 8
DIRECTIONS = 4
DIFFERENCE_SAMPLES = 4  # float64 on a large encoder is slow, and one wrong operator affects every sample
ROUNDING = 5e-4  # of four samples one is off by up to 7e-3 if rounding moves a single ReLU across its kink
SLOPE_ROUNDING = 1e-3  # slopes along a few directions scatter more than the gradient does
STEP = 1e-6  # of the width of the bounds: in float64 both truncation and rounding then stay below 1e-8


@dataclass(frozen=True, slots=True)
class ForwardFidelity:
    """Embeddings of a graph compared with those of the fp32 module: cosines, ||a - b|| / ||b||, largest difference."""

    samples: int
    cosine_min: float
    cosine_mean: float
    relative_l2: float
    max_abs: float
    emulated: bool = False
    """Was an fp32 graph with the same rounding measured instead, since this machine has no products of its type?"""

    def to_json(self) -> dict[str, Any]:
        """Plain types for the manifest; `emulated` only if true."""
        return {name: value for name, value in asdict(self).items() if name != "emulated" or value}


@dataclass(frozen=True, slots=True)
class VjpFidelity:
    """J^T v of a graph compared with autograd in fp32 and in float64, and with central differences in float64."""

    samples: int
    relative_l2: float
    sign_agreement: float
    forward_relative_l2: float
    finite_difference_error: float
    rounding: float
    """Relative L2 between autograd in fp32 and in float64: what rounding alone does to this gradient."""
    over_rounding: float
    """That of the graph against float64, as a multiple of `rounding`, which counts as `ROUNDING` at least."""
    slope_over_rounding: float
    """`finite_difference_error` as a multiple of autograd's own in fp32, which counts as `SLOPE_ROUNDING` at least."""

    def to_json(self) -> dict[str, Any]:
        """Plain types for the manifest."""
        return asdict(self)


FP32_LIMITS = (
    Limit("relative_l2", 1e-4, "only the order of sums differs: 3e-7 when measured, 2e-6 on large encoders"),
)

VJP_LIMITS = (
    Limit("forward_relative_l2", 1e-4, "the same forward pass as the fp32 graph"),
    Limit("over_rounding", 10, "5e-3 for a smooth module; ReLUs that rounding moves cost torch itself up to 4e-3"),
    Limit("sign_agreement", 0.99, "linf attacks step by the sign; only entries near zero may differ", lower=True),
    Limit("slope_over_rounding", 10, "a gradient that is no derivative of the module is off by its own size"),
)


def measure_forward(path: Path, module: nn.Module, x: Floats, *, reference: bool) -> ForwardFidelity:
    """Compare the graph at `path` with `module` on x (n, ...); a `reference` graph runs without graph optimisation.

    Raises:
        ExportError: ONNX Runtime cannot load or run the graph.
    """
    (got,) = run_graph(path, {"x": x}, reference=reference)
    want = embed(freeze(module), x)
    cosines = (got * want).sum(1) / np.maximum(np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1), 1e-12)
    return ForwardFidelity(
        samples=len(x),
        cosine_min=float(cosines.min()),
        cosine_mean=float(cosines.mean()),
        relative_l2=relative_error(got, want),
        max_abs=float(np.abs(got - want).max()),
    )


def measure_vjp(path: Path, module: nn.Module, x: Floats, width: float) -> VjpFidelity:
    """Compare the gradient graph at `path` with `module` on x (n, ...), whose bounds are `width` wide.

    Raises:
        ExportError: ONNX Runtime cannot load or run the graph.
    """
    frozen = freeze(module)
    rng = np.random.default_rng(0)
    v = rng.standard_normal((len(x), embed(frozen, x[:1]).shape[1]), dtype=np.float32)
    z_got, g_got = run_graph(path, {"x": x, "v": v}, reference=True)
    pairs = [
        pull_back(frozen, torch.from_numpy(x[i : i + BATCH_SIZE]), torch.from_numpy(v[i : i + BATCH_SIZE]))
        for i in range(0, len(x), BATCH_SIZE)
    ]
    z_want, g_want = (torch.cat(parts).numpy() for parts in zip(*pairs, strict=True))
    few = slice(0, DIFFERENCE_SAMPLES)
    exact = freeze(module).double()
    _, g_exact = pull_back(exact, torch.from_numpy(x[few]).double(), torch.from_numpy(v[few]).double())
    rounding = relative_error(g_want[few], g_exact.numpy())
    slopes, differences = directional_slopes(exact, x[few], v[few], (g_got[few], g_want[few]), width * STEP, rng)
    slope_error, torch_error = (relative_error(one, differences) for one in slopes)
    return VjpFidelity(
        samples=len(x),
        relative_l2=relative_error(g_got, g_want),
        sign_agreement=float((np.sign(g_got) == np.sign(g_want)).mean()),
        forward_relative_l2=relative_error(z_got, z_want),
        finite_difference_error=slope_error,
        rounding=rounding,
        over_rounding=relative_error(g_got[few], g_exact.numpy()) / max(rounding, ROUNDING),
        slope_over_rounding=slope_error / max(torch_error, SLOPE_ROUNDING),
    )


def directional_slopes(
    exact: nn.Module, x: Floats, v: Floats, gradients: Sequence[Floats], h: float, rng: np.random.Generator
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Slopes (directions, n) along random d: <g, d> of each gradient, and v.(f(x + hd) - f(x - hd)) / 2h by `exact`."""
    directions = [rng.standard_normal(x.shape) for _ in range(DIRECTIONS)]
    differences = [(v * (embed(exact, x + h * d) - embed(exact, x - h * d))).sum(1) / (2 * h) for d in directions]
    slopes = [np.stack([(g * d).reshape(len(x), -1).sum(1) for d in directions]) for g in gradients]
    return slopes, np.stack(differences)


def check_fidelity(name: str, fidelity: ForwardFidelity | VjpFidelity, limits: Sequence[Limit]) -> None:
    """Refuse a graph that exceeds its limits.

    Raises:
        FidelityError: a measure is beyond its limit, or not a number.
    """
    for limit in limits:
        value = float(getattr(fidelity, limit.measure))
        if not limit.holds(value):
            relation = "at least" if limit.lower else "at most"
            raise FidelityError(
                f"`{name}` does not compute what the module computes: {limit.measure} is {value:.3g} on"
                f" {fidelity.samples} samples; expected {relation} {limit.bound:g}",
                hint="`--until-parity` keeps more of it in fp32 until it holds; `--precision fp32` rounds nothing",
            )


def run_graph(path: Path, feeds: dict[str, Floats], *, reference: bool) -> list[Floats]:
    """Outputs of a graph on the CPU, computed a few samples at a time.

    Raises:
        ExportError: ONNX Runtime cannot load or run it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(EXACT_INT8, "1")  # as the runtime runs it
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_BASIC if reference else level.ORT_ENABLE_ALL
    count = len(next(iter(feeds.values())))
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        batches = [
            session.run(None, {name: value[i : i + BATCH_SIZE] for name, value in feeds.items()})
            for i in range(0, count, BATCH_SIZE)
        ]
    except Exception as error:  # its exceptions have no public base class
        raise ExportError(f"ONNX Runtime cannot run `{path.name}`: {first_line(error)}") from error
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def embed(module: nn.Module, x: NDArray[Any]) -> NDArray[Any]:
    """z (n, d) of a torch module, a few samples at a time, in the precision of `x`."""
    with torch.no_grad():
        parts = [module(torch.from_numpy(x[i : i + BATCH_SIZE])) for i in range(0, len(x), BATCH_SIZE)]
    embeddings: NDArray[Any] = torch.cat(parts).numpy()
    return embeddings


def relative_error(got: NDArray[Any], want: NDArray[Any]) -> float:
    """||got - want|| / ||want|| over all entries."""
    return float(np.linalg.norm(got - want) / max(float(np.linalg.norm(want)), 1e-30))
