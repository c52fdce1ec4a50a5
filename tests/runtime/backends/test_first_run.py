"""What nobody has run yet comes to an end: loops, memory, loading, and work that cannot be interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hostile_graphs import hungry, looping, spoil
from onnx import helper
from tiny import BundleMaker, Linear

from advcal_edge.bundle import Bundle
from advcal_edge.errors import EngineError, EngineStoppedError
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.backends import first_run
from advcal_edge.runtime.backends.first_run import run_bounded
from advcal_edge.runtime.backends.onnx import OnnxBackend
from advcal_edge.runtime.model import Runner
from advcal_edge.spec import thermal

LINEAR = Linear.random(thermal(8))
FOREVER = 2**60
SECONDS, BYTES = "ADVCAL_MAX_FIRST_RUN_SECONDS", "ADVCAL_MAX_FIRST_RUN_BYTES"


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def with_graph(bundle: Bundle, model: onnx.ModelProto) -> Bundle:
    return bundle.add({"onnx/forward.fp32.onnx": bytes(model.SerializeToString())})


def test_a_loop_without_end_is_stopped(make_bundle: BundleMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS, "1")
    bundle = with_graph(make_bundle(LINEAR), looping(LINEAR, FOREVER, seen=False))
    with pytest.raises(EngineError, match="does not come to an end in 1 s") as caught:
        Embedder.load(bundle.path)
    assert f"{SECONDS}=" in str(caught.value.hint)
    assert not [thread for thread in threading.enumerate() if thread.name == "first run"]


def test_what_is_seen_to_end_runs_without_a_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Runner(OnnxBackend(write(tmp_path / "g.onnx", looping(LINEAR, 100, seen=False))), LINEAR.modality.input)
    x = np.zeros((2, 1, 8, 8), np.float32) + np.float32(0.5)
    first = runner(x)

    def never(*_: object) -> None:
        raise AssertionError("watched again")

    monkeypatch.setattr("advcal_edge.runtime.backends.onnx.run_bounded", never)
    np.testing.assert_array_equal(runner(x), first)


def test_each_batch_size_has_a_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen times 2**60 rounds are none in 64 bits, and one time is for ever."""
    monkeypatch.setenv(SECONDS, "1")
    runner = Runner(
        OnnxBackend(write(tmp_path / "g.onnx", looping(LINEAR, FOREVER, seen=False))), LINEAR.modality.input
    )
    x = np.zeros((16, 1, 8, 8), np.float32) + np.float32(0.5)
    assert len(runner(x)) == 16
    with pytest.raises(EngineStoppedError, match="does not come to an end in 1 s"):
        runner(x[:1])


def test_memory_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "g.onnx", hungry(LINEAR, 2**27))  # half a GiB of float32
    runner = Runner(OnnxBackend(path), LINEAR.modality.input)
    monkeypatch.setenv(BYTES, str(2**26))
    with pytest.raises(EngineError, match="GiB of memory and was stopped") as caught:
        runner(np.zeros((1, 1, 8, 8), np.float32))
    assert f"{BYTES}=" in str(caught.value.hint)


def test_memory_that_the_machine_does_not_have(tmp_path: Path) -> None:
    runner = Runner(OnnxBackend(write(tmp_path / "g.onnx", hungry(LINEAR, 2**50))), LINEAR.modality.input)
    with pytest.raises(EngineError, match="failed on x"):
        runner(np.zeros((1, 1, 8, 8), np.float32))


def test_loading_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of constants are computed while loading; each of these takes a part of a second."""
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{k}", f"m{k}"], [f"m{k + 1}"]) for k in range(400)]
    nodes += [helper.make_node("ReduceSum", ["m400"], ["waste"], keepdims=0)]
    path = write(tmp_path / "g.onnx", spoil(LINEAR, nodes, {"shape": np.array([2000, 2000])}))
    monkeypatch.setenv(SECONDS, "1")
    with pytest.raises(EngineError, match=r"loading `.*` does not come to an end"):
        Runner(OnnxBackend(path), LINEAR.modality.input)


def test_what_cannot_be_interrupted_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_run, "GRACE", 0.1)
    monkeypatch.setenv(SECONDS, "1")
    told, end = threading.Event(), threading.Event()
    with pytest.raises(EngineError, match="does not come to an end"):
        run_bounded(end.wait, told.set, "a deaf one")
    assert told.is_set()
    end.set()


def test_ctrl_c_stops_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "g.onnx", looping(LINEAR, FOREVER, seen=False))
    code = (
        "import sys, threading, os, signal, time, numpy as np\n"
        "from advcal_edge.runtime.backends.onnx import OnnxBackend\n"
        "from advcal_edge.runtime.model import Runner\n"
        "from advcal_edge.spec import thermal\n"
        "runner = Runner(OnnxBackend(sys.argv[1]), thermal(8).input)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    runner(np.zeros((1, 1, 8, 8), np.float32))\n"
        "except KeyboardInterrupt:\n"
        "    print([thread.name for thread in threading.enumerate() if thread.name == 'first run'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize("command", [["embed", "x.npy"], ["verify", "--engine", "fp32", "--reference", "onnx"]])
def test_commands_end(command: list[str], make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = with_graph(make_bundle(LINEAR), looping(LINEAR, FOREVER, seen=False))
    bundle.add({"onnx/vjp.fp32.onnx": LINEAR.vjp()})
    np.save(tmp_path / "x.npy", np.full((8, 8), 29000, np.uint16))
    arguments = [command[0], str(bundle.path), *command[1:]]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "advcal_edge", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        env={**os.environ, SECONDS: "2"},
    )
    assert time.monotonic() - started < 100
    assert done.returncode == 2, done.stderr
    assert "error: the first run of `" in done.stderr
    assert f"hint: if you trust it, give it more: `{SECONDS}=4`" in done.stderr
    assert "onnxruntime]" not in done.stderr
    assert "Traceback" not in done.stderr
