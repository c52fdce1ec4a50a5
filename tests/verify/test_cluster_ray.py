"""A run on a real Ray cluster of two cores that another process holds."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import Linear, write_bundle

from advcal_edge import VerifyOptions, verify
from advcal_edge.spec import image

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow

N = 150


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster of two cores of this machine, reachable from it alone and with a token."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    head = ["start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2"]
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # its sockets need a short path
        more = ["--include-dashboard=false", "--object-store-memory=100000000", "--disable-usage-stats"]
        command = [sys.executable, "-c", start, *head, *more, f"--temp-dir={folder}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as holder:
            assert holder.stdout is not None
            assert any("Ray runtime started" in line for line in holder.stdout)
            yield f"127.0.0.1:{port}"
            holder.terminate()
            holder.communicate(timeout=60)


def without_seconds(document: dict[str, Any]) -> dict[str, Any]:
    document = json.loads(json.dumps(document))
    del document["measured"]["seconds"]
    return document


def test_two_cores_come_to_the_report_of_one_process(address: str, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(image(8)), ("fp32", "fp16"), {}, samples=N).path
    shutil.copytree(bundle, tmp_path / "whole")
    options = VerifyOptions("fp16", samples=N, reference="onnx", sources="none")
    (report,) = verify(tmp_path / "whole", options)
    few = ["--engine", "fp16", "--samples", str(N), "--reference", "onnx", "--sources", "none"]
    command = [sys.executable, "-m", "advcal_edge", "verify", str(bundle), *few, "--cluster", f"ray:{address}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert f"the work goes to 2 cores of Ray at {address}" in done.stderr
    (path,) = bundle.glob("reports/*/report.json")
    assert without_seconds(json.loads(path.read_text())) == without_seconds(report.to_json())
