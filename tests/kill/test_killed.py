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


def kill(name: str, folder: Path, step: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(HERE / "killing.py"), name, str(folder), str(step)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["violations"], "\n\n".join(f"before {k}: {why}" for k, why in found["violations"].items())
    return {"operations": found["operations"], "kills": found["kills"]}


@pytest.mark.parametrize("name", WRITERS)
def test_before_some_operations(name: str, folder: Path) -> None:
    assert kill(name, folder, 17)["kills"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_before_every_operation(name: str, folder: Path) -> None:
    found = kill(name, folder, 1)
    assert found["kills"] == found["operations"] > 5
