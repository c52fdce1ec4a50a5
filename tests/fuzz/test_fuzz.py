"""Hostile input with a fixed seed, and the proof that the watch sees what it is for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz import ROOT
from fuzz.sensor_files import write_sensor_files
from fuzz.targets import PLANTED, TARGETS
from fuzz.targets.planted import DEFECTS


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program, in a process of its own: workers must not be forked from one with threads."""
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)


FEW = 12
"""Cases of each target where time is short."""


@pytest.mark.parametrize("few", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["few", "all"])
def test_hostile_input_breaks_nothing(tmp_path: Path, few: bool) -> None:
    told = tmp_path / "told.json"
    findings = tmp_path / "findings"
    number = ("--cases", str(FEW)) if few else ()
    done = fuzz("--seed", "0", "--json", str(told), "--findings", str(findings), *number)
    print(done.stdout)  # cases and violations of each target: `pytest -rP` shows them
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found: dict[str, Any] = json.loads(told.read_text())
    assert {name: tally["cases"] for name, tally in found.items()} == {
        name: (FEW if few else target.cases) + len(target.seeds) for name, target in TARGETS.items()
    }
    for name, tally in found.items():
        assert tally["violations"] == {}, name
        assert tally["outcomes"]["refused"] > tally["cases"] / 20, f"{name}: hardly anything was refused"
        assert tally["outcomes"]["ok"] >= 1, f"{name}: nothing was accepted"


@pytest.mark.slow
def test_the_watch_sees_every_planted_defect(tmp_path: Path) -> None:
    findings = tmp_path / "findings"
    found: dict[str, Any] = {}
    output = ""
    hangs = ["planted-hang"]  # the deadline alone ends it; the others have all the time they need
    for asked, deadline in ((hangs, ["--deadline", "2"]), ([name for name in PLANTED if name not in hangs], [])):
        told = tmp_path / f"told {len(asked)}.json"
        targets = [part for name in asked for part in ("--target", name)]
        done = fuzz("--index", "0", "--json", str(told), "--findings", str(findings), *deadline, *targets)
        assert done.returncode == 1, done.stderr
        found |= json.loads(told.read_text())
        output += done.stdout
    for name, (kind, _) in DEFECTS.items():
        signatures = found[f"planted-{name.replace(' ', '-')}"]["violations"]
        assert any(signature.startswith(kind) for signature in signatures), f"{name}: {signatures}"
    assert "again: python -m tests.fuzz --target planted-crash --seed 0 --index 0" in output
    again = fuzz("--replay", str(findings / "planted-exception-0-0"))
    assert again.returncode == 1, again.stderr
    assert "VIOLATION exception: KeyError" in again.stdout


def test_a_case_is_made_of_target_seed_and_index_alone(tmp_path: Path) -> None:
    write_sensor_files(tmp_path / "sensors")
    chosen = [TARGETS[name] for name in TARGETS if name.startswith("sensor-")]
    for target in chosen:
        for index in range(4):
            twice = []
            for attempt in ("first", "second"):
                folder = tmp_path / attempt / target.name / str(index)
                actions = target.case(tmp_path, folder, 3, index)
                twice.append((actions, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}))
            assert twice[0] == twice[1]
