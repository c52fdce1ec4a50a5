"""Who gives a plan its gradient: a backward plan on the same device, or the backward graph on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from advcal_edge.bundle import Bundle
from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.runtime.engine import fits_here, plan_metadata, read_listed

if TYPE_CHECKING:
    from advcal_edge.runtime.engine_file import EngineFile
    from advcal_edge.runtime.model import Runner, Vjp

SAMPLES = 32
AGREEMENT = 0.9  # mean cosine; int8 against fp32 gave 0.999, and what is below this is the gradient of another model


def choose_backward(
    bundle: Bundle, runner: Runner, graph: Vjp | None, allow_plan_code: bool = False
) -> tuple[Vjp | None, str | None]:
    """The backward half to attack `runner` with, and the hash of its file; `graph` is the bundle's own on the CPU.

    A backward plan is taken where it fits on the device and its own forward pass agrees with that of the engine: the
    two are compared before anything is attacked.

    Raises:
        BundleError: a file of the bundle was changed.
    """
    for name, metadata in plan_metadata(bundle).items():
        if metadata.kind == "vjp" and fits_here(metadata):
            backward = open_backward(bundle, read_listed(bundle, name), allow_plan_code)
            if backward is not None and agreement(bundle, runner, backward) >= AGREEMENT:
                return backward, metadata.sha256
    return graph, None


def open_backward(bundle: Bundle, file: EngineFile, allow_plan_code: bool = False) -> Vjp | None:
    """The backward plan; None where it does not load, such as for want of memory beside the forward plan."""
    from advcal_edge.runtime.backends import OpenOptions
    from advcal_edge.runtime.model import open_vjp

    try:
        return open_vjp(file, bundle.modality.input, OpenOptions(allow_plan_code=allow_plan_code))
    except (DependencyError, EngineError):
        return None


def agreement(bundle: Bundle, runner: Runner, backward: Vjp) -> float:
    """Mean cosine between the embeddings of both on the first samples of the probe."""
    x = bundle.probe(SAMPLES).x
    forward, other = runner(x), backward.embed(x)
    return mean_cosine(forward, other)


def mean_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean cosine between the rows of a and b (n, d); 0 where either is not finite."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(lengths, 1e-12)
    return float(np.nan_to_num(cosines, nan=0.0, posinf=0.0, neginf=0.0).mean())
