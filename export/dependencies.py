"""The optional packages an export needs, looked for before any work begins."""

from __future__ import annotations

from importlib.util import find_spec

from advcal_edge.errors import DependencyError

PACKAGES = {"torch": "export", "onnx": "export", "onnxscript": "export", "onnxruntime": "cpu"}
"""Package and the extra that brings it; ONNX Runtime quantises and checks what torch and onnx write."""


def check_dependencies() -> None:
    """Make sure that everything an export imports is installed; imports nothing itself.

    Raises:
        DependencyError: a package is missing; the hint names its extra.
    """
    for package, extra in PACKAGES.items():
        if find_spec(package) is None:
            raise DependencyError(package, extra=extra, purpose="export")
