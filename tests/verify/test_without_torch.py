"""These tests themselves need no torch: a robot can run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WITHOUT = """
import sys
from importlib import machinery
find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = classmethod(lambda cls, name, *rest: None if name == "torch" else find(name, *rest))
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
HERE = Path(__file__).parent


def test_they_collect_and_pass_without_torch() -> None:
    options = ["-q", "-p", "no:cacheprovider", "-m", "not slow and not gpu", "-k", "not without_torch"]
    quick = ["test_check_registry.py", "test_checks_drift.py", "test_thumbnails.py", "test_saboteurs.py"]
    everything = [sys.executable, "-c", WITHOUT, str(HERE), "--collect-only", *options]
    collected = subprocess.run(everything, capture_output=True, text=True, check=False)
    assert collected.returncode == 0, collected.stdout
    assert "test_checks_curve.py" not in collected.stdout
    assert "test_state.py" in collected.stdout
    some = [sys.executable, "-c", WITHOUT, *(str(HERE / name) for name in quick), *options]
    ran = subprocess.run(some, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout
