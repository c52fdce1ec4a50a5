"""Cores of a process: affinity, quotas of both generations of control groups, and what the user has set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from advcal_edge.cli.cores import share_cores, usable_cores

ALL = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", ALL), ("50000 100000", 1), ("100000 100000", 1), ("9900000 100000", ALL), ("", ALL), ("x y", ALL)],
)
def test_quota_of_a_container(text: str, cores: int, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", ALL), ("50000", 1), ("oops", ALL)])
def test_quota_of_an_older_kernel(quota: str, cores: int, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == cores


def test_threads_follow_the_quota_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000")
    found: dict[str, str] = {}
    share_cores(found, tmp_path)
    assert found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert found.get("OMP_NUM_THREADS") == ("1" if (os.cpu_count() or 1) > 1 else None)
    own = {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "7"}
    share_cores(own, tmp_path)
    assert own == {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "7"}


def test_commands_set_it_before_torch_starts() -> None:
    pytest.importorskip("torch")
    code = """
import os, sys
from advcal_edge.cli import main
assert "torch" not in sys.modules
assert main(["doctor", "--for", "run"]) in (0, 1)
import torch
print(os.environ["OMP_WAIT_POLICY"], torch.get_num_threads())
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1].startswith("PASSIVE ")
