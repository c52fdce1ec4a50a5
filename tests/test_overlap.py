"""Commands that work on one bundle at once lose nothing, refuse nothing, and never see a half."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from advcal_edge.bundle import Bundle
from advcal_edge.errors import BundleChangedError, BundleError
from advcal_edge.storage import sha256_bytes

MEMORY = Path("/dev/shm")  # noqa: S108  # where the disk need not be waited for
SPAWN = get_context("spawn")


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="advcal-edge.", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    yield found
    shutil.rmtree(found)


def together(*works: tuple[Callable[..., None], tuple[object, ...]]) -> None:
    """Every work in a process of its own, all at once."""
    processes = [SPAWN.Process(target=work, args=arguments) for work, arguments in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def add_and_remove(folder: Path, who: str, rounds: int) -> None:
    """In each round a bundle gets three files of one's own and one that all replace; one of one's own goes again."""
    for number in range(rounds):
        path = folder / f"B{number}"
        meet(folder, who, number)
        for index in range(3):
            own, shared = f"reports/{who}{index}/report.json", os.urandom(64)
            Bundle.open(path).add({own: b"{}", "onnx/shared.onnx": shared}, graphs=counted)
            if index == 1:
                Bundle.open(path).remove([own])


def counted(graphs: dict[str, int] | None) -> dict[str, object]:
    """A section that every writer adds to."""
    return {"opset": (graphs or {"opset": 0})["opset"] + 1, "files": {}}


def meet(folder: Path, who: str, number: int) -> None:
    """Wait until all three are here, so that they overlap for sure."""
    (folder / f"{who}{number}").touch()
    while not all((folder / f"{other}{number}").exists() for other in "xyz"):
        time.sleep(0.0002)


def overlap(folder: Path, rounds: int) -> tuple[int, int]:
    """How many bundles lost something, and how many were refused."""
    for number in range(rounds):
        Bundle.create(folder / f"B{number}", {"seed": 1}, {"adapter.safetensors": b"adapter"})
    together(*((add_and_remove, (folder, who, rounds)) for who in "xyz"))
    wanted = {
        "adapter.safetensors",
        "onnx/shared.onnx",
        *(f"reports/{who}{i}/report.json" for who in "xyz" for i in (0, 2)),
    }
    lost = refused = 0
    for number in range(rounds):
        path = folder / f"B{number}"
        try:
            bundle = Bundle.open(path)
            for name in bundle.manifest["files"]:
                bundle.file(name)
        except BundleError:
            refused += 1
            continue
        lost += bundle.manifest["files"].keys() != wanted or bundle.manifest["graphs"]["opset"] != 9
        files = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
        assert files == {"manifest.json", *bundle.manifest["files"]}
    assert not list(folder.glob(".*"))
    return lost, refused


def test_three_writers_lose_nothing(folder: Path) -> None:
    assert overlap(folder, 50) == (0, 0)


@pytest.mark.slow
def test_three_writers_lose_nothing_however_often(folder: Path) -> None:
    assert overlap(folder, 150) == (0, 0)


def keep_replacing(path: Path, seconds: float) -> None:
    """Add, replace and calibrate anew, with contents that name each other."""
    end = time.monotonic() + seconds
    turn = 0
    while time.monotonic() < end:
        turn += 1
        data = b"%d" % turn
        Bundle.open(path).add({"onnx/a.onnx": data, "onnx/b.onnx": data}, seed=turn)
        if turn % 5 == 0:
            Bundle.create(path, {"seed": turn}, {"onnx/a.onnx": data, "onnx/b.onnx": data})
    path.with_name("done").touch()


def keep_reading(path: Path) -> None:
    """Whatever moment it is, the bundle opens and lists two files of the same content and seed."""
    opened, used = 0, 0
    while not path.with_name("done").exists():
        bundle = Bundle.open(path)
        entries = [bundle.manifest["files"][name]["sha256"] for name in ("onnx/a.onnx", "onnx/b.onnx")]
        assert set(entries) == {sha256_bytes(b"%d" % bundle.manifest["seed"])}
        opened += 1
        try:
            bundle.file("onnx/b.onnx")
            used += 1
        except BundleChangedError as error:
            assert "another command replaced" in error.message  # noqa: PT017
    assert opened > 20
    assert used > 0


def test_readers_see_the_bundle_before_or_after(folder: Path) -> None:
    path = folder / "B"
    Bundle.create(path, {"seed": 0}, {"onnx/a.onnx": b"0", "onnx/b.onnx": b"0"})
    together((keep_replacing, (path, 4.0)), (keep_reading, (path,)), (keep_reading, (path,)))


def test_who_opened_before_is_told_that_a_file_was_replaced(tmp_path: Path) -> None:
    before = Bundle.create(tmp_path / "B", {}, {"onnx/a.onnx": b"a", "onnx/b.onnx": b"b"})
    Bundle.open(before.path).add({"onnx/a.onnx": b"a again"}).remove(["onnx/b.onnx"])
    for name in ("onnx/a.onnx", "onnx/b.onnx"):
        with pytest.raises(BundleChangedError, match=f"replaced or removed `{name}`"):
            before.file(name)


def test_what_was_made_of_the_bundle_before_does_not_enter_the_new_one(tmp_path: Path) -> None:
    before = Bundle.create(tmp_path / "B", {}, {"adapter.safetensors": b"old"})
    with pytest.raises(BundleChangedError, match="replaced") as caught, before.staging() as staging:  # noqa: PT012
        (staging / "forward.onnx").write_bytes(b"of the old adapter")
        Bundle.create(tmp_path / "B", {}, {"adapter.safetensors": b"new"})
        before.add({"onnx/forward.onnx": staging / "forward.onnx"})
    assert caught.value.hint == "run the command again"
    with pytest.raises(BundleChangedError, match=r"calibrated .* anew"):
        before.add({"reports/1/report.json": b"{}"})
    now = Bundle.open(tmp_path / "B")
    assert list(now.manifest["files"]) == ["adapter.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["B"]
    assert sorted(path.name for path in now.path.iterdir()) == ["adapter.safetensors", "manifest.json"]
