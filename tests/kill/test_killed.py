"""Whenever a writer is killed, what it wrote to is as before or as after, and the next writer goes on and cleans up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from writers import WRITERS

HERE = Path(__file__).parent
MEMORY = Path("/dev/shm")  # noqa: S108  # where the disk need not be waited for


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="advcal-edge.", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    yield found
    shutil.rmtree(found)


def kill(folder: Path, step: int, *names: str) -> list[int]:
    """How many operations each writer had that were tried; what was wrong after any of them fails the test."""
    done = subprocess.run(
        [sys.executable, str(HERE / "killing.py"), str(folder), str(step), *names],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wrong = [f"{one['writer']}, before {k}: {why}" for one in found for k, why in one["violations"].items()]
    assert not wrong, "\n\n".join(wrong)
    return [one["kills"] for one in found]


def test_before_some_operations(folder: Path) -> None:
    kills = kill(folder, 17, *WRITERS)
    assert min(kills) >= 1
    assert sum(kills) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_before_every_operation(name: str, folder: Path) -> None:
    assert kill(folder, 1, name) > [5]
