"""A run that workers share comes to the report of one process, whatever becomes of the workers."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import Linear, write_bundle

from advcal_edge import VerifyOptions, verify
from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import BundleError, ConfigError, EngineError
from advcal_edge.spec import image
from advcal_edge.verify.block import Block
from advcal_edge.verify.cluster import worker
from advcal_edge.verify.cluster.pool import Answer, Call, Where
from advcal_edge.verify.cluster.processes import ProcessLostError, processes
from advcal_edge.verify.cluster.spread import LOSSES, verify_spread
from advcal_edge.verify.run import Watch

N = 150
OPTIONS = VerifyOptions("fp16", samples=N, reference="onnx", sources="none")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    return write_bundle(folder / "B", Linear.random(image(8)), ("fp32", "fp16"), {}, samples=N).path


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "B")
    return tmp_path / "B"


def without_seconds(document: dict[str, Any]) -> dict[str, Any]:
    document = json.loads(json.dumps(document))
    del document["measured"]["seconds"]
    return document


def whole(original: Path, tmp_path: Path, options: VerifyOptions = OPTIONS) -> dict[str, Any]:
    """The report of one process."""
    shutil.copytree(original, tmp_path / "whole")
    (report,) = verify(tmp_path / "whole", options)
    return without_seconds(report.to_json())


@pytest.fixture(scope="module")
def expected(original: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of one process with `OPTIONS`."""
    return whole(original, tmp_path_factory.mktemp("expected"))


class Inline:
    """A pool of this process alone, whose answers a test may change; several are there at once, in any order."""

    lost = (ProcessLostError,)
    width = 3

    def __init__(self, parcel: bytes | None, change: Callable[[Any, Answer], Answer]) -> None:
        self.parcel, self.change = parcel, change

    def submit(self, call: Call, order: str, piece: int | str) -> Future[Answer]:
        future: Future[Answer] = Future()
        try:
            future.set_result(self.change(piece, call(order, self.parcel, piece)))
        except Exception as error:
            future.set_exception(error)
        return future

    def describe(self) -> str:
        return "this process"


class Elsewhere(Where):
    """Workers that have nothing but a parcel, in this process."""

    def __init__(self, change: Callable[[Any, Answer], Answer] = lambda piece, answer: answer) -> None:
        super().__init__("dask", "inline")
        object.__setattr__(self, "change", change)

    @contextmanager
    def open(self, parcel: bytes | None) -> Iterator[Inline]:
        try:
            yield Inline(parcel, self.change)  # type: ignore[attr-defined]
        finally:
            worker.close()


def test_two_processes_come_to_the_report_of_one(
    bundle: Path, expected: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--engine", "fp16", "--samples", str(N), "--reference", "onnx", "--sources", "none"]
    assert main(["verify", str(bundle), *few, "--workers", "2"]) in (0, 1)
    assert "the work goes to 2 processes" in capsys.readouterr().err
    (path,) = bundle.glob("reports/*/report.json")
    assert without_seconds(json.loads(path.read_text())) == expected
    assert not bundle.with_name("B.verify").exists()


def test_killed_workers_lose_nothing(bundle: Path, expected: dict[str, Any]) -> None:
    said: list[str] = []
    killed: list[int] = []

    def kill(standings: object) -> None:
        """After the first answer, while the other worker is at the next piece."""
        if said and not killed and multiprocessing.active_children() and done():
            killed.extend(child.pid or 0 for child in multiprocessing.active_children())
            for pid in killed:
                os.kill(pid, 9)

    def done() -> list[Path]:
        return [note for note in bundle.with_name("B.verify").glob("*/*.json") if note.name != "run.json"]

    (report,) = verify_spread(bundle, Where.here(2), OPTIONS, watch=Watch(stand=kill, said=said.append))
    assert len(killed) == 2
    assert any("a worker was lost" in line for line in said)
    assert without_seconds(report.to_json()) == expected


def die(order: str, parcel: bytes | None, piece: int | str) -> Answer:
    """Kill the process that answers, unless the piece says otherwise."""
    if piece != "live":
        os._exit(9)
    return {"worker": "alive"}


def test_a_dead_process_is_replaced() -> None:
    with processes(1) as pool:
        with pytest.raises(ProcessLostError):
            pool.submit(die, "", 0).result()
        assert pool.submit(die, "", "live").result() == {"worker": "alive"}
    assert not [child for child in multiprocessing.active_children() if child.name == "verification worker"]


def test_a_piece_that_kills_every_worker_ends_the_run_and_what_is_done_is_kept(
    bundle: Path, expected: dict[str, Any]
) -> None:
    def kill(piece: int | str, answer: Answer) -> Answer:
        if piece == 1:
            raise ProcessLostError("killed")
        return answer

    with pytest.raises(EngineError, match=f"block 1 lost {LOSSES} workers"):
        verify_spread(bundle, Elsewhere(kill), OPTIONS)
    assert list(bundle.with_name("B.verify").glob("*/block-000000.npz"))
    (report,) = verify(bundle, OPTIONS)  # goes on, without workers
    assert without_seconds(report.to_json()) == expected


def test_a_worker_of_another_version_is_refused(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "site" / "advcal_edge-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: advcal-edge\nVersion: 9.9\n")

    def install(run: object, options: object) -> None:
        """From now on: processes that are started take the path of this one."""
        monkeypatch.syspath_prepend(str(other.parent))

    words = "it would take part in another run: its `tool` is `9.9`; expected `"
    with pytest.raises(ConfigError, match=words):
        verify_spread(bundle, Where.here(1), OPTIONS, watch=Watch(opened=install))
    assert not (bundle / "reports").exists()


def test_a_sequential_run_stops_where_one_process_does(original: Path, bundle: Path, tmp_path: Path) -> None:
    options = VerifyOptions("fp16", samples=N, reference="onnx", sources="none", sequential=True, margin=0.4)
    (report,) = verify_spread(bundle, Elsewhere(), options)
    expected = whole(original, tmp_path, options)
    assert without_seconds(report.to_json()) == expected
    assert len(expected["measured"]["truth"]) < N


def test_an_engine_that_the_bundle_does_not_list_travels_too(original: Path, bundle: Path, tmp_path: Path) -> None:
    mine = tmp_path / "my build 2.onnx"
    shutil.copy(bundle / "onnx" / "forward.fp16.onnx", mine)
    options = VerifyOptions(str(mine), samples=64, reference="onnx", sources="none")
    (report,) = verify_spread(bundle, Elsewhere(), options)
    assert without_seconds(report.to_json()) == whole(original, tmp_path, options)
    assert report.engine["path"] == "my build 2.onnx"


def forged(piece: int | str, answer: Answer) -> Answer:
    """A block in which no attack fools the engine."""
    if not isinstance(piece, int):
        return answer
    block = copy.deepcopy(Block.from_bytes(answer["content"], "it"))
    for attempt in block.attempts:
        if "fp16" in attempt.rank:
            attempt.rank["fp16"][:] = 0
    return {**answer, "content": block.to_bytes()}


def wrong_clean(piece: int | str, answer: Answer) -> Answer:
    """Embeddings of another engine; only the models can tell."""
    if piece != 2:
        return answer
    block = copy.deepcopy(Block.from_bytes(answer["content"], "it"))
    block.embeddings["clean@fp16"][:] = np.roll(block.embeddings["clean@fp16"], 1, axis=1)
    return {**answer, "content": block.to_bytes()}


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (forged, BundleError, "that were standing; expected one of this run"),
        (wrong_clean, BundleError, "has other clean embeddings of fp16"),
        (lambda piece, answer: {**answer, "content": b"PK"}, BundleError, "from process|no readable|is damaged"),
        (lambda piece, answer: {**answer, "content": "text"}, BundleError, "holds a str; expected bytes"),
        (
            lambda piece, answer: {**answer, "content": b"[]"},
            BundleError,
            "is a list; expected an object|is no readable archive",
        ),
        (
            lambda piece, answer: {**answer, "run": {**answer["run"], "tool": "9.9"}},
            ConfigError,
            "in another run: its `tool` is `9.9`",
        ),
    ],
)
def test_what_a_run_cannot_have_given_is_refused(
    bundle: Path, change: Callable[[Any, Answer], Answer], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        verify_spread(bundle, Elsewhere(change), OPTIONS)
    assert not (bundle / "reports").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "2", "--shard", "1/2"], "`--shard` and `--workers` exclude each other"),
        (["--workers", "2", "--cluster", "ray:auto"], "`--workers` and `--cluster` exclude each other"),
        (["--workers", "2", "--rebuilds", "1"], "workers and `--rebuilds` exclude each other"),
        (["--cluster", "desk:tcp://127.0.0.1:1"], "did you mean `dask`?"),
        (["--cluster", "ray"], "has no address"),
    ],
)
def test_impossible_requests_are_2(
    bundle: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(bundle), *options]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("cluster", "module"), [("dask:tcp://127.0.0.1:1", "distributed"), ("ray:auto", "ray")])
def test_a_cluster_needs_its_extra(
    bundle: Path, cluster: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    few = ["--engine", "fp16", "--reference", "onnx", "--sources", "none", "--cluster", cluster]
    assert main(["verify", str(bundle), *few]) == 2
    err = capsys.readouterr().err
    assert f"needs the package `{module}`, which is not installed" in err
    assert f"pip install 'advcal-edge[{cluster.partition(':')[0]}]'" in err


def test_the_bundle_is_as_before(bundle: Path) -> None:
    """A worker reads only: the manifest is the same but for the report."""
    before = Bundle.open(bundle).manifest["files"]
    verify_spread(bundle, Elsewhere(), VerifyOptions("fp16", samples=64, reference="onnx", sources="none"))
    after = Bundle.open(bundle).manifest["files"]
    assert {name: entry for name, entry in after.items() if not name.startswith("reports/")} == before
