"""Verifications of one real bundle, honest and sabotaged, shared by every test that looks at reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken import OTHERS, SUBTLE
from gates import gated
from numpy.typing import NDArray
from once import once_per_run
from runs import Named, Reports, verify_all
from saboteurs import GRAPHS, StaleBuffer, dead_gradient, sabotage

from advcal_edge.bundle import Bundle
from advcal_edge.runtime.model import EngineGradient, open_vjp
from advcal_edge.verify.census.explanation import find_explanation
from advcal_edge.verify.elsewhere import calibration_inputs
from advcal_edge.verify.models import open_engine, open_frozen_encoder, open_torch_reference

NEED_TORCH = (
    "test_census_towers.py",
    "test_checks_curve.py",
    "test_checks_gradients.py",
    "test_checks_trials.py",
    "test_gradient_from_torch.py",
    "test_honest.py",
)
"""What attacks torch modules; all else here runs on a machine without torch, where it skips what was not exported."""
collect_ignore = [] if find_spec("torch") else [*NEED_TORCH]

HONEST, SABOTAGED = 200, 96  # samples; with fewer than 189 not even an engine without flips could pass


def pytest_report_header() -> str | None:
    """Says what is left out."""
    return f"without torch, tests/verify leaves out {', '.join(collect_ignore)}" if collect_ignore else None


def times(*factors: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Multiplies gradients (n, ...), each sample's by one of the factors in turn."""
    return lambda g: g * np.resize(np.array(factors, np.float32), len(g)).reshape(-1, *(1,) * (g.ndim - 1))


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where broken engines are put together."""
    return tmp_path_factory.mktemp("workshop")


@pytest.fixture(scope="session")
def honest(exported: Bundle, workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Reports of engines that nothing was done to."""
    return reports_once(tmp_path_factory, "honest", lambda: verify_honest(exported, workshop, ("fp32", "int8")))


@pytest.fixture(scope="session")
def others_honest(exported: Bundle, workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Reports of an engine exported anew and of one without a gradient."""
    return reports_once(
        tmp_path_factory, "others honest", lambda: verify_honest(exported, workshop, ("re-exported", "blind"))
    )


def verify_honest(exported: Bundle, workshop: Path, names: Collection[str]) -> Reports:
    """Attack some of them."""
    from advcal_edge.calibrate.deploy import module_from_bundle
    from advcal_edge.export.forward import export_forward
    from advcal_edge.export.fp16 import convert_cast

    path, half = workshop / "opset18.onnx", workshop / "opset18.fp16.onnx"
    export_forward(module_from_bundle(exported), exported.modality.input, path, opset=18)
    convert_cast(path, half, "fp16")
    own = find_explanation(exported)
    bundled = {
        p: open_engine(exported, exported.file(f"onnx/forward.{p}.onnx"), explanation=own)
        for p in ("fp32", "fp16", "int8")
    }
    engines = {
        "fp32": bundled["fp32"],
        "int8": bundled["int8"],
        "re-exported": open_engine(exported, half, explanation=own),
        "blind": replace(bundled["fp32"], gradient=None, info={**bundled["fp32"].info, "gradient": None}),
    }
    reference = open_torch_reference(exported)
    sources = {"trunk": open_frozen_encoder(exported), **bundled}
    probe = exported.probe().head(HONEST)
    chosen = {name: engines[name] for name in names}
    calibration = calibration_inputs(exported)
    return verify_all(
        reference, chosen, exported.modality, probe, exported.threat, sources=sources, calibration=calibration
    )


def broken_engines(exported: Bundle, workshop: Path, names: Collection[str]) -> Named:
    """Engines with these names that were broken on purpose, and all defences that are masked."""
    from masks import Bent, Purified

    from advcal_edge.calibrate.deploy import module_from_bundle
    from advcal_edge.calibrate.torch_runner import TorchRunner

    source, spec = exported.file("onnx/forward.fp32.onnx"), exported.modality.input
    honest = open_engine(exported, source)
    small = open_engine(exported, exported.file("onnx/forward.int8.onnx"))
    engines = {
        name: open_engine(exported, sabotage(source, workshop / f"{name}.onnx", edit))
        for name, edit in {**GRAPHS, **gated(exported)}.items()
        if name in names
    }
    stale = StaleBuffer(honest.runner)
    colder = replace(honest.centers, temperature=honest.centers.temperature / 1000)  # softmax is one or zero
    backward = exported.file("onnx/vjp.fp32.onnx")
    dead = open_vjp(sabotage(backward, workshop / "dead.vjp.onnx", dead_gradient), spec)
    return {
        **engines,
        "stale_buffer": replace(honest, runner=stale, gradient=EngineGradient(stale, open_vjp(backward, spec))),
        "purification": replace(
            TorchRunner(Purified(module_from_bundle(exported)), spec).attacked(honest.centers), info=honest.info
        ),
        "saturated_temperature": replace(honest, centers=colder),
        "nan_gradient": replace(honest, gradient=Bent(honest, times(np.nan))),
        "reversed_gradient": replace(honest, gradient=Bent(honest, times(-1.0))),
        "a_third_reversed": replace(honest, gradient=Bent(honest, times(1.0, 1.0, -1.0))),
        "dead_int8_gradient": replace(small, gradient=EngineGradient(small.runner, dead)),
    }


def verify_broken(exported: Bundle, workshop: Path, names: Collection[str]) -> Reports:
    """Reports of some of them."""
    engines = {name: found for name, found in broken_engines(exported, workshop, names).items() if name in names}
    reference = open_torch_reference(exported)
    probe = exported.probe().head(SABOTAGED)
    calibration = calibration_inputs(exported)
    return verify_all(reference, engines, exported.modality, probe, exported.threat, calibration=calibration)


@pytest.fixture(scope="session")
def sabotaged(exported: Bundle, workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Reports of two broken engines."""
    return reports_once(tmp_path_factory, "sabotaged", lambda: verify_broken(exported, workshop, SUBTLE))


@pytest.fixture(scope="session")
def others_sabotaged(exported: Bundle, workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Reports of the others, each of which is rejected by a check with quick tests of its own."""
    return reports_once(tmp_path_factory, "others sabotaged", lambda: verify_broken(exported, workshop, OTHERS))


def reports_once(factory: pytest.TempPathFactory, name: str, verify: Callable[[], Reports]) -> Reports:
    """The reports that the first worker to ask for them makes."""

    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / "reports.json").write_text(json.dumps(verify()))

    reports: Reports = json.loads((once_per_run(factory, name, write) / "reports.json").read_text())
    return reports
