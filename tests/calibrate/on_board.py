"""Calibrate the small encoder on a device that mixes with nothing, then on the processor: `on_board.py FOLDER`

Prints the largest difference between the adapters of both, for each set of settings. With a bundle as second argument,
verifies it with its reference on that device, and prints the verdict.
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


def main(folder: Path, bundle: str | None = None) -> None:
    """Both, and compare."""
    registry.ENCODERS = {**registry.ENCODERS, **REGISTRY}
    differences = []
    for sections in SECTIONS:
        sections = {**sections, "evaluate": {"samples": 8, "steps": 2, "queries": 2}}
        states = []
        for name, device in (("board", BOARD), ("processor", torch.device("cpu"))):
            run.choose_device = deploy.choose_device = lambda *_, device=device: device  # type: ignore[assignment]
            run.calibrate(resolve(CalibrateConfig, settings_of(folder, str(folder / name), sections)))
            states.append(load_file(folder / name / "adapter.safetensors"))
        one, other = states
        differences.append(max(float((value - other[key]).abs().max()) for key, value in one.items()))
    found: dict[str, Any] = {"differences": differences}
    if bundle is not None:
        from advcal_edge.verify import VerifyOptions
        from advcal_edge.verify.run import verify

        deploy.choose_device = lambda *_: BOARD  # type: ignore[assignment]
        (report,) = verify(Path(bundle), VerifyOptions(engine="fp32", samples=8, sources="trunk"))
        found |= {"reference": report.measured["reference"], "verdict": report.verdict}
    print(json.dumps(found))


main(Path(sys.argv[1]), *sys.argv[2:])
