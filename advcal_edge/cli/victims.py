"""Reference and engines of a bundle, ready to be attacked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge.attacks import Victim
from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError, EngineError
from advcal_edge.registry import choose

if TYPE_CHECKING:
    from advcal_edge.runtime.onnx_session import OnnxVjp

FORWARD, BACKWARD = "onnx/forward.fp32.onnx", "onnx/vjp.fp32.onnx"


def reference_victim(bundle: Bundle, kind: str, weights: Path | None = None) -> tuple[Victim, dict[str, Any]]:
    """The model that was calibrated: torch where it is installed, else the fp32 graph, barely optimised.

    Raises:
        ConfigError: an unknown kind.
        EngineError: `torch` was asked for and is not installed.
    """
    choose("reference", kind, {"auto": 0, "torch": 0, "onnx": 0})
    if kind != "onnx":
        try:
            return torch_victim(bundle, weights)
        except ModuleNotFoundError as error:
            if kind == "torch" or error.name != "torch":
                raise EngineError("`--reference torch` needs torch", hint="use `--reference onnx`") from error
    from advcal_edge.runtime.onnx_session import EngineGradient, OnnxRunner, OnnxVjp

    spec = bundle.modality.input
    runner = OnnxRunner(bundle.file(FORWARD), spec, optimization="basic")
    gradient = EngineGradient(runner, OnnxVjp(bundle.file(BACKWARD), spec))
    info = {"kind": "onnx", "fingerprint": runner.fingerprint, "sha256": runner.sha256}
    return Victim(runner, bundle.centers(), gradient), info


def torch_victim(bundle: Bundle, weights: Path | None = None) -> tuple[Victim, dict[str, Any]]:
    """The torch module of the bundle, in float32."""
    from advcal_edge.calibrate.deploy import module_from_bundle
    from advcal_edge.calibrate.torch_runner import TorchRunner

    runner = TorchRunner(module_from_bundle(bundle, weights), bundle.modality.input)
    return runner.victim(bundle.centers()), {"kind": "torch", "fingerprint": runner.fingerprint}


def trunk_victim(bundle: Bundle, weights: Path | None = None) -> tuple[Victim, dict[str, Any]]:
    """The frozen encoder as it was before calibration: what an attacker who knows only the published model attacks."""
    from advcal_edge.calibrate.adapters.base import AdaptedModule
    from advcal_edge.calibrate.deploy import encoder_of
    from advcal_edge.calibrate.torch_runner import TorchRunner

    runner = TorchRunner(AdaptedModule(encoder_of(bundle, weights).module()), bundle.modality.input)
    return runner.victim(bundle.centers()), {"kind": "torch", "fingerprint": runner.fingerprint}


def backward_graph(bundle: Bundle) -> OnnxVjp | None:
    """The bundle's backward graph, which serves all its engines; None where it was exported without."""
    from advcal_edge.runtime.onnx_session import OnnxVjp

    return OnnxVjp(bundle.file(BACKWARD), bundle.modality.input) if bundle.has(BACKWARD) else None


def engine_victim(bundle: Bundle, path: Path, backward: OnnxVjp | None = None) -> tuple[Victim, dict[str, Any]]:
    """An engine with a backward graph behind it, the bundle's own where none is given; without one a black box."""
    from advcal_edge.runtime.onnx_session import EngineGradient, OnnxRunner

    runner = OnnxRunner(path, bundle.modality.input)
    backward = backward or backward_graph(bundle)
    gradient = None if backward is None else EngineGradient(runner, backward)
    info = {
        "path": shown(bundle, path),
        "listed": bundle.has(shown(bundle, path)),
        "precision": runner.graph.precision,
        "sha256": runner.sha256,
        "bytes": path.stat().st_size,
        "fingerprint": runner.fingerprint,
        "gradient": None if gradient is None else gradient.backward.fingerprint,
    }
    return Victim(runner, bundle.centers(), gradient), info


def engines(bundle: Bundle, name: str | None) -> list[Path]:
    """Paths of the engines to verify: the one named, or every forward graph of the bundle.

    Raises:
        ConfigError: the bundle has none.
        EngineError: the one named does not exist.
    """
    from advcal_edge.runtime.engine import choose_engine, graph_name, listed_engine

    if name is not None:
        return [choose_engine(bundle, name)]
    listed = [graph_name(precision) for precision in ("fp32", "fp16", "int8")]
    found = [listed_engine(bundle, graph) for graph in listed if bundle.has(graph)]
    if not found:
        raise ConfigError(f"bundle `{bundle.path}` has no engine to verify", hint=f"advcal-edge export {bundle.path}")
    return found


def shown(bundle: Bundle, path: Path) -> str:
    """Path inside the bundle where there is one, else the file's own name: reports travel, folders do not."""
    resolved, root = path.resolve(), bundle.path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else path.name
