"""Calibrate frozen Bind-style encoders against adversarial input, export them, and verify the engines' robustness.

Three verbs and the runtime: `calibrate` makes a bundle, `export` adds engines, `verify` attacks them, and `Embedder`
runs one. Each is imported on first use; the runtime alone needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advcal_edge.bundle import Bundle
    from advcal_edge.calibrate.config import CalibrateConfig
    from advcal_edge.calibrate.presets import configure
    from advcal_edge.calibrate.run import CalibrationResult, calibrate as calibrate
    from advcal_edge.export.run import ExportOptions, export as export
    from advcal_edge.runtime.embedder import Embedder
    from advcal_edge.verify.options import VerifyOptions
    from advcal_edge.verify.report import Report
    from advcal_edge.verify.run import verify as verify

__all__ = [
    "Bundle",
    "CalibrateConfig",
    "CalibrationResult",
    "Embedder",
    "ExportOptions",
    "Report",
    "VerifyOptions",
    "__version__",
    "calibrate",
    "configure",
    "export",
    "verify",
]
PLACES = {
    "Bundle": "bundle",
    "CalibrateConfig": "calibrate.config",
    "CalibrationResult": "calibrate.run",
    "Embedder": "runtime.embedder",
    "ExportOptions": "export.run",
    "Report": "verify.report",
    "VerifyOptions": "verify.options",
    "configure": "calibrate.presets",
}
"""Module of each public name; the verbs are packages that can be called."""


def __getattr__(name: str) -> Any:
    """Import a name of `__all__`; `__version__` is read from the metadata of the installation."""
    if name == "__version__":
        from importlib.metadata import version

        return version("advcal-edge")
    if name in PLACES:
        return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
    if name in ("calibrate", "export", "verify"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
