"""The backward pass that engines are attacked with: the bundle's gradient graph, or autograd of its torch module.

The engine under test always computes the forward pass. Whatever computes the backward pass is only a guide (backward
pass differentiable approximation, BPDA, Athalye et al. 2018, arXiv 1802.00420): the engine judges every input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.model import Gradient
from advcal_edge.precision import BACKWARD_GRAPH
from advcal_edge.runtime.engine import plan_metadata, read_listed
from advcal_edge.runtime.model import Backward, EngineGradient, Vjp, open_vjp
from advcal_edge.runtime.tested import TORCH

GRADIENTS = ("auto", "graph", "torch")
"""Sources of the backward pass: `auto` is the bundle's graph or plan if there is one, else torch."""


@dataclass(frozen=True, slots=True)
class TorchBackward:
    """Autograd of a torch module, at inputs whose embeddings an engine computes."""

    module: Gradient
    fingerprint: str

    def pull(self, x: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.float32]:
        """J^T v of the module at x (n, ...) for v (n, d), both on the host."""
        _, pullback = self.module.vjp(x)
        slope: NDArray[np.float32] = pullback(v)
        return slope


def kind_of(backward: Backward) -> str:
    """Where a backward pass comes from, for the report: `torch`, `plan`, or `graph` for an engine of another kind."""
    if isinstance(backward, TorchBackward):
        return TORCH
    return "plan" if isinstance(backward, Vjp) and backward.backend.kind == "plan" else "graph"


def open_backward_graph(bundle: Bundle) -> Vjp | None:
    """The bundle's backward graph, which serves all its engines; None if it was exported without one."""
    return open_vjp(read_listed(bundle, BACKWARD_GRAPH), bundle.modality.input) if bundle.has(BACKWARD_GRAPH) else None


def torch_backward(reference: AttackedModel) -> TorchBackward:
    """The backward pass of a torch reference."""
    return TorchBackward(reference.white_box(), reference.runner.fingerprint)


def backward_for_engines(bundle: Bundle, gradient: str, reference: AttackedModel) -> Backward | None:
    """The backward pass that engines share, from `gradient`, one of `GRADIENTS`; None if only backward plans are left.

    Raises:
        ConfigError: `graph` was requested and the bundle has neither a graph nor a plan.
    """
    if reference.gradient is None:  # of a comparison: nobody knows one
        return None
    if isinstance(reference.gradient, EngineGradient):
        return reference.gradient.backward
    if gradient != TORCH and bundle.has(BACKWARD_GRAPH):
        return open_backward_graph(bundle)
    if gradient != "graph":
        return torch_backward(reference)
    if any(metadata.kind == "vjp" for metadata in plan_metadata(bundle).values()):
        return None
    raise no_graph(bundle)


def no_graph(bundle: Bundle) -> ConfigError:
    """The error for a gradient graph that was requested and does not exist."""
    return ConfigError(
        f"`--gradient graph`: bundle `{bundle.path}` has no gradient graph{why_missing(bundle)}",
        hint="leave out `--gradient`: where torch is installed the gradient comes from there",
    )


def no_torch(bundle: Bundle, gradient: str) -> DependencyError:
    """The error for a backward pass that only torch could give, where torch is not installed."""
    if gradient == TORCH:
        return DependencyError("torch", extra="calibrate", purpose="`--gradient torch`")
    hint = "verify where torch is installed: pip install 'advcal-edge[calibrate]'"
    if not why_missing(bundle):
        hint += f"; or add the gradient graph there: `{command('export', bundle.path)}`"
    purpose = f"`verify` without a gradient graph{why_missing(bundle)}"
    return DependencyError("torch", extra="calibrate", purpose=purpose, hint=hint)


def why_missing(bundle: Bundle) -> str:
    """Why the bundle has no gradient graph, in brackets, as its export recorded; empty if nobody tried to make one."""
    reason = bundle.manifest.get("graphs", {}).get("missing", {}).get(BACKWARD_GRAPH)
    return "" if reason is None else f" (it cannot be exported: {reason})"
