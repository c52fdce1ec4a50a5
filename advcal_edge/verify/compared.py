"""Models of a comparison folder: a reference that nobody calibrated, and outputs of any length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from advcal_edge.attacks import AttackedModel
from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError
from advcal_edge.precision import BACKWARD_GRAPH
from advcal_edge.runtime.backends import OpenOptions
from advcal_edge.runtime.backends.onnx import CPU
from advcal_edge.runtime.engine import read_listed
from advcal_edge.runtime.model import EngineGradient, Runner, open_runner, open_vjp
from advcal_edge.verify.unit import UnitGradient, UnitRunner

EXACT = OpenOptions(providers=(CPU,), optimization="basic")
"""How a graph runs that is a reference: as it was written."""


def check_kind(bundle: Bundle, comparison: Mapping[str, Any], kind: str) -> None:
    """Refuse to look for another kind of reference than the folder has.

    Raises:
        ConfigError: a graph was requested and it is in torch, or the other way round.
    """
    there = "torch" if comparison["graph"] is None else "onnx"
    if kind not in ("auto", there):
        raise ConfigError(
            f"`--reference {kind}`: `{bundle.path}` compares with `{comparison['reference']}`, which is of the kind"
            f" `{there}`",
            hint="leave out `--reference`",
        )


def open_graph(bundle: Bundle, name: str) -> AttackedModel:
    """The graph with which a folder compares; a black box without a graph of its gradient.

    Raises:
        EngineError: it cannot be loaded.
    """
    spec = bundle.modality.input
    runner = open_runner(read_listed(bundle, name), spec, EXACT)
    gradient = None
    if bundle.has(BACKWARD_GRAPH):
        gradient = EngineGradient(runner, open_vjp(read_listed(bundle, BACKWARD_GRAPH), spec))
    info = {"kind": "onnx", "fingerprint": runner.fingerprint, "sha256": runner.sha256}
    return normalised(AttackedModel(runner, bundle.centers(), gradient, info=info))


def normalised(model: AttackedModel) -> AttackedModel:
    """The same engine with outputs of unit norm: models are compared by the direction of their outputs.

    Where the outputs have unit norm already, nothing changes but the last digits.
    """
    if not isinstance(model.runner, Runner):
        return model
    runner, gradient = UnitRunner(model.runner), model.gradient
    if isinstance(gradient, EngineGradient):
        gradient = UnitGradient(runner, gradient.backward)
    return replace(model, runner=runner, gradient=gradient)
