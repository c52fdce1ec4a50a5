"""A run on a real Dask cluster of two workers, of which one is killed in the middle."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import Linear, write_bundle

from advcal_edge import VerifyOptions, verify
from advcal_edge.cli import main
from advcal_edge.errors import ConfigError
from advcal_edge.spec import image
from advcal_edge.verify.cluster.pool import Where
from advcal_edge.verify.cluster.processes import environment
from advcal_edge.verify.cluster.spread import verify_spread
from advcal_edge.verify.run import Watch

distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")

N = 192
FEW = ["--engine", "fp16", "--samples", str(N), "--reference", "onnx", "--sources", "none"]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two processes of this machine, reachable from it alone."""
    with (
        environment(TMPDIR=str(tmp_path_factory.mktemp("workers"))),  # where the one that is killed leaves its files
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
        ) as found,
    ):
        yield found


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "B", Linear.random(image(8)), ("fp32", "fp16"), {}, samples=N).path


def without_seconds(document: dict[str, Any]) -> dict[str, Any]:
    document = json.loads(json.dumps(document))
    del document["measured"]["seconds"]
    return document


def test_two_workers_come_to_the_report_of_one_process(
    cluster: Any, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = VerifyOptions("fp16", samples=N, reference="onnx", sources="none")
    shutil.copytree(bundle, tmp_path / "whole")
    (report,) = verify(tmp_path / "whole", options)
    whole = without_seconds(report.to_json())

    address = cluster.scheduler_address
    assert main(["verify", str(bundle), *FEW, "--cluster", f"dask:{address}"]) in (0, 1)
    assert f"the work goes to 2 workers of Dask at {address}" in capsys.readouterr().err
    (path,) = bundle.glob("reports/*/report.json")
    assert without_seconds(json.loads(path.read_text())) == whole

    shutil.rmtree(bundle / "reports")
    killed: list[int] = []

    def kill(standings: object) -> None:
        """After the first answer: the nanny starts another worker, and Dask gives the block to one that lives."""
        if not killed and list(bundle.with_name("B.verify").glob("*/block-*.npz")):
            killed.append(next(iter(cluster.workers.values())).pid)
            os.kill(killed[0], 9)

    (again,) = verify_spread(bundle, Where.parse(f"dask:{address}"), options, watch=Watch(stand=kill))
    assert killed
    assert without_seconds(again.to_json()) == whole


def test_no_scheduler_is_2(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advcal_edge.verify.cluster.dask_pool.SECONDS", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        verify_spread(bundle, Where.parse(f"dask:tcp://127.0.0.1:{port}"), VerifyOptions("fp16", reference="onnx"))


def test_a_scheduler_without_workers_is_2(bundle: Path) -> None:
    options = VerifyOptions("fp16", reference="onnx")
    with distributed.LocalCluster(
        n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as empty:
        where = Where.parse(f"dask:{empty.scheduler_address}")
        with pytest.raises(ConfigError, match="has no workers"):
            verify_spread(bundle, where, options)
