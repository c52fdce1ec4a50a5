"""Reference and engines of a bundle, ready to be attacked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge.attacks import Victim
from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.errors import ConfigError, EngineError
from advcal_edge.precision import PRECISIONS
from advcal_edge.registry import choose

if TYPE_CHECKING:
    from advcal_edge.runtime.metadata import EngineMetadata
    from advcal_edge.runtime.model import Vjp

FORWARD, BACKWARD = "onnx/forward.fp32.onnx", "onnx/vjp.fp32.onnx"


def reference_victim(bundle: Bundle, kind: str, consent: Consent = NOTHING) -> tuple[Victim, dict[str, Any]]:
    """The model that was calibrated: torch where it is installed, else the fp32 graph, barely optimised.

    Raises:
        ConfigError: an unknown kind.
        EngineError: `torch` was asked for and is not installed.
    """
    choose("reference", kind, {"auto": 0, "torch": 0, "onnx": 0})
    if kind != "onnx":
        try:
            return torch_victim(bundle, consent)
        except ModuleNotFoundError as error:
            if kind == "torch" or error.name != "torch":
                raise EngineError("`--reference torch` needs torch", hint="use `--reference onnx`") from error
    from advcal_edge.runtime.backends.onnx import OnnxBackend
    from advcal_edge.runtime.engine import read_listed
    from advcal_edge.runtime.model import EngineGradient, Runner, open_vjp

    spec = bundle.modality.input
    runner = Runner(OnnxBackend(read_listed(bundle, FORWARD), optimization="basic"), spec)
    gradient = EngineGradient(runner, open_vjp(read_listed(bundle, BACKWARD), spec))
    info = {"kind": "onnx", "fingerprint": runner.fingerprint, "sha256": runner.sha256}
    return Victim(runner, bundle.centers(), gradient), info


def torch_victim(bundle: Bundle, consent: Consent = NOTHING) -> tuple[Victim, dict[str, Any]]:
    """The torch module of the bundle, in float32."""
    from advcal_edge.calibrate.deploy import module_from_bundle
    from advcal_edge.calibrate.torch_runner import TorchRunner

    runner = TorchRunner(module_from_bundle(bundle, consent), bundle.modality.input)
    return runner.victim(bundle.centers()), {"kind": "torch", "fingerprint": runner.fingerprint}


def trunk_victim(bundle: Bundle, consent: Consent = NOTHING) -> tuple[Victim, dict[str, Any]]:
    """The frozen encoder as it was before calibration: what an attacker who knows only the published model attacks."""
    from advcal_edge.calibrate.adapters import AdaptedModule
    from advcal_edge.calibrate.deploy import encoder_of
    from advcal_edge.calibrate.torch_runner import TorchRunner

    runner = TorchRunner(AdaptedModule(encoder_of(bundle, consent).module()), bundle.modality.input)
    return runner.victim(bundle.centers()), {"kind": "torch", "fingerprint": runner.fingerprint}


def backward_graph(bundle: Bundle) -> Vjp | None:
    """The bundle's backward graph, which serves all its engines; None where it was exported without."""
    from advcal_edge.runtime.engine import read_listed
    from advcal_edge.runtime.model import open_vjp

    return open_vjp(read_listed(bundle, BACKWARD), bundle.modality.input) if bundle.has(BACKWARD) else None


def engine_victim(
    bundle: Bundle, path: Path, backward: Vjp | None = None, consent: Consent = NOTHING
) -> tuple[Victim, dict[str, Any]]:
    """An engine with a backward half behind it, the bundle's own where none is given; without one a black box."""
    from advcal_edge.cli.backward import choose_backward
    from advcal_edge.runtime.backends import OpenOptions
    from advcal_edge.runtime.engine import read_engine
    from advcal_edge.runtime.model import EngineGradient, open_runner

    file = read_engine(bundle, path)
    options = OpenOptions(allow_plan_code=consent.plan_code or consent.built)
    runner = open_runner(file, bundle.modality.input, options)
    backward = backward or backward_graph(bundle)
    plan = runner.backend.kind == "plan"
    backward, backward_sha256 = (
        choose_backward(bundle, runner, backward, consent.plan_code) if plan else (backward, None)
    )
    gradient = None if backward is None else EngineGradient(runner, backward)
    info = {
        "path": shown(bundle, path),
        "listed": bundle.has(shown(bundle, path)),
        "precision": runner.precision,
        "sha256": runner.sha256,
        "bytes": len(file.data),
        "fingerprint": runner.fingerprint,
        "gradient": None if gradient is None else gradient.backward.fingerprint,
        **describe_plan(runner.backend.metadata, backward_sha256),
    }
    if runner.step is not None:
        info["step"] = runner.step
    return Victim(runner, bundle.centers(), gradient), info


def describe_plan(metadata: EngineMetadata | None, backward: str | None) -> dict[str, Any]:
    """What a report repeats of the metadata beside a plan; nothing where there are none."""
    if metadata is None:
        return {}
    plan = {
        "product": metadata.product,
        "version": list(metadata.version),
        "device": None if metadata.device is None else str(metadata.device),
        "graph": metadata.graph,
        "graph_sha256": metadata.graph_sha256,
        "asked": metadata.precision,
        "evidence": metadata.evidence,
        "backward_sha256": backward,
    }
    return {"plan": plan}


def engines(bundle: Bundle, name: str | None) -> list[Path]:
    """Paths of the engines to verify: the one named, or every forward graph and plan of the bundle that runs here.

    Raises:
        ConfigError: the bundle has none.
        EngineError: the one named does not exist.
    """
    from advcal_edge.runtime.engine import (
        choose_engine,
        listed_path,
        plan_metadata,
        runnable_precisions,
        runs_here,
    )

    if name is not None:
        return [choose_engine(bundle, name)]
    listed = [PRECISIONS[name].graph for name in runnable_precisions()]
    found = [listed_path(bundle, graph) for graph in listed if bundle.has(graph)]
    found += [listed_path(bundle, plan) for plan, one in plan_metadata(bundle).items() if runs_here(one)]
    if not found and bundle.has(PRECISIONS["bf16"].graph):
        return [choose_engine(bundle, "bf16")]  # and be told what it needs
    if not found:
        raise ConfigError(f"bundle `{bundle.path}` has no engine to verify", hint=command("export", bundle.path))
    return found


def shown(bundle: Bundle, path: Path) -> str:
    """Path inside the bundle where there is one, else the file's own name: reports travel, folders do not."""
    resolved, root = path.resolve(), bundle.path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else path.name
