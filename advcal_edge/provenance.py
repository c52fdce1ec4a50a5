"""Provenance of a result: machine, versions, program."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("advcal-edge", "numpy", "opencv-python-headless", "safetensors", "onnxruntime", "onnxruntime-gpu",
            "openvino", "onnx", "onnxscript", "torch", "tensorrt")  # fmt: skip


def environment() -> dict[str, str]:
    """Versions and machine as plain strings; reads package metadata and imports nothing."""
    facts = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else str(os.cpu_count()),
    }
    for name in PACKAGES:
        installed = package_version(name)
        if installed is not None:
            facts[name] = installed
    return facts


def package_version(name: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name from Linux, or from Python on other systems."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
