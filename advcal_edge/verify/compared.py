"""Models of a comparison folder: a reference that nobody calibrated, and outputs of any length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from advcal_edge.attacks import AttackedModel
from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError
from advcal_edge.runtime.backends import OpenOptions
from advcal_edge.runtime.backends.onnx import CPU
from advcal_edge.runtime.engine import read_listed
from advcal_edge.runtime.model import EngineGradient, Runner, Vjp, open_runner
from advcal_edge.runtime.tested import TORCH
from advcal_edge.verify.backward import kind_of, open_backward_graph
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


def open_graph(bundle: Bundle, name: str, gradient: str) -> AttackedModel:
    """The graph with which a folder compares; a black box without a graph of its gradient.

    `gradient` is one of `backward.GRADIENTS`.

    Raises:
        ConfigError: a gradient was requested that nobody gave.
        EngineError: it cannot be loaded.
    """
    centers = bundle.centers()
    runner = open_runner(read_listed(bundle, name), bundle.modality.input, EXACT, width=centers.dim)
    backward = open_backward_graph(bundle)
    if gradient == TORCH or (gradient == "graph" and backward is None):
        raise ConfigError(
            f"`--gradient {gradient}`: the reference of `{bundle.path}` is a graph, given"
            f" {'without one of its gradient' if backward is None else 'with one of its gradient and without torch'}",
            hint="leave out `--gradient`",
        )
    info = {"kind": "onnx", "fingerprint": runner.fingerprint, "sha256": runner.sha256}
    if backward is None:
        return normalised(AttackedModel(runner, centers, info=info))
    info["gradient_from"] = kind_of(backward)
    return normalised(AttackedModel(runner, centers, EngineGradient(runner, backward), info=info))


def normalised(model: AttackedModel) -> AttackedModel:
    """The same engine with outputs of unit norm: models are compared by the direction of their outputs.

    Where the outputs have unit norm already, nothing changes but the last digits.
    """
    if not isinstance(model.runner, Runner):
        return model
    runner, gradient = UnitRunner(model.runner), model.gradient
    if isinstance(gradient, EngineGradient):
        backward = gradient.backward
        if isinstance(backward, Vjp):  # its outputs are like those of the reference; torch normalises its own
            return replace(model, runner=runner, gradient=UnitGradient(runner, backward))
        gradient = EngineGradient(runner, backward)
    return replace(model, runner=runner, gradient=gradient)
