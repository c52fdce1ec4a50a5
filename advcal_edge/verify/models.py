"""Reference and engines of a bundle as models to attack, each with the backward pass that is used to attack it.

The torch reference is in a higher layer and needs torch, so it is imported by name when needed.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.errors import ConfigError, DependencyError, EngineError
from advcal_edge.precision import PRECISIONS
from advcal_edge.registry import choose
from advcal_edge.runtime.backends import OpenOptions
from advcal_edge.runtime.engine import (
    choose_engine,
    fits_here,
    listed_path,
    plan_metadata,
    read_engine,
    read_listed,
    runnable_precisions,
    runs_here,
)
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.interface import AS_DECLARED, Interface
from advcal_edge.runtime.metadata import EngineMetadata
from advcal_edge.runtime.model import Backward, EngineGradient, Runner, Vjp, open_runner, open_vjp
from advcal_edge.runtime.tested import TORCH
from advcal_edge.verify.backward import (
    GRADIENTS,
    kind_of,
    no_graph,
    no_torch,
    open_backward_graph,
    torch_backward,
)
from advcal_edge.verify.census.engine import take_census
from advcal_edge.verify.census.explanation import Explanation
from advcal_edge.verify.compared import check_kind, normalised, open_graph

TORCH_MODELS = "advcal_edge.calibrate.deploy"
SAMPLES = 32
AGREEMENT = 0.9  # mean cosine; int8 against fp32 gave 0.999, a lower value means the gradient of another model


def open_reference(
    bundle: Bundle, kind: str, consent: Consent = NOTHING, device: str = "cpu", gradient: str = "auto"
) -> AttackedModel:
    """The model that was calibrated: in torch if installed, else the fp32 graph with minimal optimisation.

    `gradient`, one of `GRADIENTS`, is where the backward pass of the graph comes from.

    Raises:
        ConfigError: an unknown kind or gradient, a device or a gradient graph that is not there.
        EngineError: `torch` was requested and is not installed.
        DependencyError: only torch could give the gradient, and it is not installed.
    """
    choose("reference", kind, {"auto": 0, "torch": 0, "onnx": 0})
    choose("gradient", gradient, dict.fromkeys(GRADIENTS))
    if bundle.comparison is not None:
        check_kind(bundle, bundle.comparison, kind)
        if bundle.comparison["graph"] is not None:
            return open_graph(bundle, bundle.comparison["graph"], gradient)
    if kind != "onnx":
        try:
            return open_torch_reference(bundle, consent, device)
        except ModuleNotFoundError as error:
            if bundle.comparison is not None and error.name == "torch":
                purpose = f"the reference `{bundle.comparison['reference']}`"
                raise DependencyError("torch", extra="calibrate", purpose=purpose) from error
            if kind == "torch" or error.name != "torch":
                raise EngineError("`--reference torch` needs torch", hint="use `--reference onnx`") from error
    from advcal_edge.runtime.backends.onnx import OnnxBackend

    spec = bundle.modality.input
    runner = Runner(OnnxBackend(read_listed(bundle, PRECISIONS["fp32"].graph), optimization="basic"), spec)
    backward = open_backward_pass(bundle, gradient, consent, device)
    info = {"kind": "onnx", "fingerprint": runner.fingerprint, "sha256": runner.sha256}
    info["gradient_from"] = kind_of(backward)
    return AttackedModel(runner, bundle.centers(), EngineGradient(runner, backward), info=info)


def open_backward_pass(bundle: Bundle, gradient: str, consent: Consent = NOTHING, device: str = "cpu") -> Backward:
    """The backward pass behind the fp32 graph as reference.

    Raises:
        ConfigError: a gradient graph was requested and is not there.
        DependencyError: only torch could give the gradient, and it is not installed.
        BundleError: the code or weights of the encoder may not be loaded, or have changed.
    """
    graph = None if gradient == TORCH else open_backward_graph(bundle)
    if graph is not None:
        return graph
    if gradient == "graph":
        raise no_graph(bundle)
    try:
        return torch_backward(open_torch_reference(bundle, consent, device))
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise no_torch(bundle, gradient) from error


def open_torch_reference(bundle: Bundle, consent: Consent = NOTHING, device: str = "cpu") -> AttackedModel:
    """The torch module of the bundle, in float32, on `device`: `auto`, `cpu`, `cuda` or `cuda:1`.

    Raises:
        ModuleNotFoundError: torch is not installed.
        BundleError: the code or weights of its encoder may not be loaded, or have changed.
    """
    runner = import_module(TORCH_MODELS).reference_runner(bundle, consent, device)
    model: AttackedModel = runner.attacked(bundle.centers())
    return replace(model, info={"kind": "torch", "fingerprint": runner.fingerprint})


def open_frozen_encoder(bundle: Bundle, consent: Consent = NOTHING, device: str = "cpu") -> AttackedModel:
    """The frozen encoder before calibration: the target of an attacker who knows only the published model."""
    runner = import_module(TORCH_MODELS).frozen_runner(bundle, consent, device)
    model: AttackedModel = runner.attacked(bundle.centers())
    return replace(model, info={"kind": "torch", "fingerprint": runner.fingerprint})


def open_engine(
    bundle: Bundle,
    path: Path,
    backward: Backward | None = None,
    consent: Consent = NOTHING,
    interface: Interface = AS_DECLARED,
    *,
    backward_plans: bool = True,
    explanation: Explanation | None = None,
) -> AttackedModel:
    """Open an engine with a backward pass; by default the bundle's own.

    A plan is attacked with the bundle's backward plan if that fits, unless `backward_plans` is false. Without a
    backward pass an engine is a black box. One made by others is bridged, see `open_runner`. With an `explanation` the
    engine's decisions by value are counted and held against it.
    """
    centers, file = bundle.centers(), read_engine(bundle, path)
    options = OpenOptions(allow_plan_code=consent.plan_code or consent.built)
    runner = open_runner(file, bundle.modality.input, options, interface, width=centers.dim)
    backward = backward or open_backward_graph(bundle)
    plan = runner.backend.kind == "plan" and backward_plans
    backward, backward_sha256 = (
        choose_backward(bundle, runner, backward, consent.plan_code) if plan else (backward, None)
    )
    gradient = None if backward is None else EngineGradient(runner, backward)
    info = {
        "path": path_in_report(bundle, path),
        "listed": bundle.has(path_in_report(bundle, path)),
        "precision": runner.precision,
        "sha256": runner.sha256,
        "bytes": len(file.data),
        "fingerprint": runner.fingerprint,
        "gradient": None if gradient is None else gradient.backward.fingerprint,
        **({} if gradient is None else {"gradient_from": kind_of(gradient.backward)}),
        **describe_plan(runner.backend.metadata, backward_sha256),
    }
    if runner.step is not None:
        info["step"] = runner.step
    if explanation is not None:
        info["census"] = take_census(bundle, file, runner.backend, explanation)
    if runner.backend.bridged:
        info["bridged"] = list(runner.backend.bridged)
    model = AttackedModel(runner, centers, gradient, info=info)
    return model if bundle.comparison is None else normalised(model)


def describe_plan(metadata: EngineMetadata | None, backward: str | None) -> dict[str, Any]:
    """The fields of a plan's metadata that a report repeats; empty without metadata."""
    if metadata is None:
        return {}
    return {"plan": {**metadata.in_report(), "backward_sha256": backward}}


def engine_paths(bundle: Bundle, name: str | None) -> list[Path]:
    """Paths of the engines to verify: the one named, or every forward graph and plan of the bundle that runs here.

    Raises:
        ConfigError: the bundle has none.
        EngineError: the one named does not exist.
    """
    if name is not None:
        return [choose_engine(bundle, name)]
    if bundle.comparison is not None:
        raise ConfigError(
            f"`{bundle.path}` compares models with `{bundle.comparison['reference']}`; expected the one to attack",
            hint=command("verify", bundle.path, "--engine", "FILE"),
        )
    listed = [PRECISIONS[name].graph for name in runnable_precisions()]
    paths = [listed_path(bundle, graph) for graph in listed if bundle.has(graph)]
    paths += [listed_path(bundle, plan) for plan, one in plan_metadata(bundle).items() if runs_here(one)]
    if not paths and bundle.has(PRECISIONS["bf16"].graph):
        return [choose_engine(bundle, "bf16")]  # its error lists what is needed
    if not paths:
        raise ConfigError(f"bundle `{bundle.path}` has no engine to verify", hint=command("export", bundle.path))
    return paths


def path_in_report(bundle: Bundle, path: Path) -> str:
    """Path inside the bundle if it is there, else the file's name, since absolute paths differ between machines."""
    resolved, root = path.resolve(), bundle.path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else path.name


def choose_backward(
    bundle: Bundle, runner: Runner, graph: Backward | None, allow_plan_code: bool = False
) -> tuple[Backward | None, str | None]:
    """The backward half used to attack `runner`, and the hash of its file; `graph` is the one all engines share.

    A backward plan is used if it fits on the device and its own forward pass agrees with the engine's. The two are
    compared before any attack runs.

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
    """The backward plan; None if it does not load, for example without enough memory beside the forward plan."""
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
    """Mean cosine between the rows of a and b (n, d); 0 if either is not finite."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(lengths, 1e-12)
    return float(np.nan_to_num(cosines, nan=0.0, posinf=0.0, neginf=0.0).mean())
