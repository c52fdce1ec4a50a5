"""The example for robots runs as its README says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from tiny import BundleMaker

EXAMPLE = Path(__file__).parents[2] / "examples" / "01_embed" / "main.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(EXAMPLE), *arguments], capture_output=True, text=True, check=False)


def test_embeds_frames_and_insists_on_verification(make_bundle: BundleMaker, tmp_path: Path) -> None:
    frame = tmp_path / "frame.npy"
    np.save(frame, np.arange(100, dtype=np.uint16).reshape(10, 10))
    bundle = str(make_bundle().path)
    refused = run(bundle, str(frame))
    assert refused.returncode
    assert "no passing report" in refused.stderr
    shown = run(bundle, str(frame), "--unverified")
    assert shown.returncode == 0, shown.stderr
    assert "verified: False" in shown.stdout
    assert shown.stdout.splitlines()[1].startswith("frame.npy: ")
