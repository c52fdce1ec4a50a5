"""Fixtures that several folders share: a tiny real bundle, written anew for each test."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings
from once import once_per_run
from tiny import BundleMaker, Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.spec import image, thermal

# time is no property of an example, and each run draws others
settings.register_profile("shared machine", deadline=None, max_examples=50)
settings.load_profile("shared machine")

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker a core: torch, not yet loaded, would start a thread a core in each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background job; child processes inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the many processes that tests start would compile everything again


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the exported bundle comes first, and so goes to one of two workers: the other never waits for it."""
    items.sort(key=lambda item: "exported" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", autouse=True)
def configuration(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests trust out of the user's configuration, in child processes too."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture(params=[image(8), thermal(8)], ids=["image", "thermal"])
def linear(request: pytest.FixtureRequest) -> Linear:
    """The tiny encoder, once for each modality."""
    return Linear.random(request.param)


@pytest.fixture
def make_bundle(tmp_path: Path) -> BundleMaker:
    """Writes `tmp_path / "B"`; thermal and one fp32 graph without a report, unless told."""

    def make(
        linear: Linear | None = None, precisions: tuple[str, ...] = ("fp32",), verdicts: Mapping[str, str] | None = None
    ) -> Bundle:
        return write_bundle(tmp_path / "B", linear or Linear.random(thermal(8)), precisions, verdicts or {})

    return make


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """bindlite's image encoder, calibrated for a moment and exported for real in three precisions with its gradient.

    One for the whole run: tests that write into it copy it first.
    """
    pytest.importorskip("torch", reason="no torch to calibrate and export with")
    return Bundle.open(once_per_run(tmp_path_factory, "exported", export_bindlite))


def export_bindlite(path: Path) -> None:
    """Calibrate and export into a folder that is not there yet."""
    from advcal_edge.calibrate.config import CalibrateConfig
    from advcal_edge.calibrate.deploy import module_from_bundle
    from advcal_edge.calibrate.run import calibrate
    from advcal_edge.config import Layer, resolve
    from advcal_edge.export.graphs import export_graphs

    layers = [
        Layer("test", {"modality": "image", "out": str(path)}),
        Layer("test", {"train": {"samples": 256, "epochs": 1}, "evaluate": {"samples": 8, "steps": 2, "queries": 5}}),
    ]
    bundle = calibrate(resolve(CalibrateConfig, layers)).bundle
    export_graphs(bundle, module_from_bundle(bundle))
