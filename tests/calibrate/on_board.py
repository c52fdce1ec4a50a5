"""Work on a device that mixes with nothing, and print what came out as JSON.

`on_board.py calibrate FOLDER` calibrates the small encoder there and on the processor, for several sets of settings:
the largest difference between the adapters of both. `on_board.py verify BUNDLE` verifies with the reference there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from fake_device import BOARD
from safetensors.torch import load_file
from small_encoder import REGISTRY, settings_of

from advcal_edge import registry
from advcal_edge.calibrate import deploy, run
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.config import resolve

SECTIONS: tuple[dict[str, Any], ...] = (
    {"adapter": {"kind": "stem-filter+lora-xs+norms+head"}, "train": {"mirror": True}},
    {"adapter": {"kind": "lora"}, "objective": {"attacked": "soft + consistency + infonce", "clean": "half"}},
    {"adapter": {"kind": "head"}, "craft": {"kind": "static"}},
    {"adapter": {"kind": "lora"}, "craft": {"kind": "static"}, "data": {"memory": 0.0}, "threat": {"norm": "l2"}},
)


def calibrate(folder: Path) -> Any:
    """Differences between both devices."""
    registry.ENCODERS = {**registry.ENCODERS, **REGISTRY}
    differences = []
    for sections in SECTIONS:
        short = {"epochs": 1, "cached_epochs": 2, "samples": 32, **sections.get("train", {})}
        sections = {**sections, "train": short, "evaluate": {"samples": 8, "steps": 1, "queries": 1}}
        states = []
        for name, device in (("board", BOARD), ("processor", torch.device("cpu"))):
            run.choose_device = deploy.choose_device = lambda *_, device=device: device  # type: ignore[assignment]
            run.calibrate(resolve(CalibrateConfig, settings_of(folder, str(folder / name), sections)))
            states.append(load_file(folder / name / "adapter.safetensors"))
        one, other = states
        differences.append(max(float((value - other[key]).abs().max()) for key, value in one.items()))
    return differences


def verify(bundle: Path) -> Any:
    """What a report says of its reference."""
    from advcal_edge.verify import VerifyOptions
    from advcal_edge.verify.run import verify

    deploy.choose_device = lambda *_: BOARD  # type: ignore[assignment]
    (report,) = verify(bundle, VerifyOptions(engine="fp32", samples=8))
    return report.measured["reference"]


print(json.dumps({"calibrate": calibrate, "verify": verify}[sys.argv[1]](Path(sys.argv[2]))))
