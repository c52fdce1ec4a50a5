"""The device of a run: which it is, what it is called, and what its library versions are."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import torch

from advcal_edge.provenance import environment, package_version, processor

ALSO = ("triton", "tensorrt-rtx", "tensorrt_rtx_cu13_bindings", "tensorrt_rtx_cu12_bindings", "cuda-python")
ASKED = ("driver_version", "clocks.max.sm", "clocks.max.memory", "power.limit", "persistence_mode")


def find_device() -> torch.device:
    """The first CUDA device, or the processor."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def set_tf32(allowed: bool) -> None:
    """Let float32 products and convolutions round their inputs to ten bits, or not."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def describe(device: torch.device) -> dict[str, Any]:
    """Name, driver and versions, as plain types."""
    found: dict[str, Any] = {**environment(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    found |= {name: version for name in ALSO if (version := package_version(name)) is not None}
    if device.type == "cpu":
        return {"device": processor(), "kind": "cpu", **found}
    about = torch.cuda.get_device_properties(device)
    return {
        "device": about.name,
        "kind": "cuda",
        "compute_capability": f"{about.major}.{about.minor}",
        "memory_bytes": about.total_memory,
        "multiprocessors": about.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        **ask_driver(),
        **found,
    }


def ask_driver() -> dict[str, str]:
    """What `nvidia-smi` says of the first device; the reason in place of an answer where it says nothing."""
    command = ["nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return {"driver_version": f"unknown: {error}"}
    answers = [answer.strip() for answer in done.stdout.strip().splitlines()[0].split(",")]
    return dict(zip(ASKED, answers, strict=False))


def slug(name: str) -> str:
    """A device's name as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("(r)", "")).strip("-")
