"""The repository of `export --triton` in the real Triton server: it loads, and answers with the bits of a direct call.

The server comes with `nvidia-pytriton`, which has the Python backend alone and needs numpy below 2: an environment of
its own, made once, in the folder that `ADVCAL_TRITON_ENV` names or in one that is thrown away.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from checkout import ROOT
from replayed import stored_for
from ruled import plain_bundle, put, report_on
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.export.triton.repository import write_repository
from advcal_edge.spec import audio

pytestmark = pytest.mark.slow

CLIENT = Path(__file__).with_name("triton_client.py")
PACKAGES = (
    (
        "numpy<2",
        "nvidia-pytriton==0.7.0",
        f"onnxruntime=={onnxruntime.__version__}",
        "safetensors>=0.5",
        "array-api-compat>=1.11",
    ),
    ("--no-deps", "opencv-python-headless>=4.14,!=5.0.0.93"),  # its wheels ask for numpy 2 and run on 1.26
)
LOOPBACK = ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@pytest.fixture(scope="module")
def server_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the server and the runtime."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("nvidia-pytriton has wheels for Linux on x86_64 alone")
    named = os.environ.get("ADVCAL_TRITON_ENV")
    folder = Path(named) if named else tmp_path_factory.mktemp("triton") / "env"
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        for words in PACKAGES:
            done = subprocess.run(
                [python, "-m", "pip", "install", "--quiet", *words], capture_output=True, text=True, check=False
            )
            if done.returncode:
                shutil.rmtree(folder)
                pytest.skip(f"the server cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    site = next(folder.glob("lib/python3.*/site-packages"))
    (site / "advcal_edge_checkout.pth").write_text(f"{ROOT}\n")  # the backend's stub ignores PYTHONPATH
    return python


@pytest.fixture(scope="module")
def found(server_python: Path, exported: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("served")
    plain = plain_bundle(folder / "thermal")
    bundles = [
        exported,
        stored_for(put(plain, report_on(plain))),
        write_bundle(folder / "audio", Linear.random(audio(8, 40)), ("fp32",), {}),
    ]
    written = [write_repository(bundle, folder / f"R{index}") for index, bundle in enumerate(bundles)]
    moved = write_repository(stored_for(bundles[1], turned=0.1), folder / "moved")  # the repositories are copies
    words = [server_python, CLIENT, written[0].command, moved.folder, *(item.folder for item in written)]
    alone = LOOPBACK if subprocess.run([*LOOPBACK, "true"], capture_output=True, check=False).returncode == 0 else ()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PATH": f"{server_python.parent}:{os.environ['PATH']}",  # the stub finds its Python there
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([*alone, *words], capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**answer, "written": written}


def test_the_answers_have_the_bits_of_a_direct_call(found: dict[str, Any]) -> None:
    assert found["same"] == {
        "image": [[True] * 3] * 2,
        "thermal": [[True] * 2] * 2,
        "audio": [[True] * 2] * 2,
    }


def test_what_is_sure_is_what_the_stated_rule_makes_sure(found: dict[str, Any]) -> None:
    stated = found["configs"]["thermal_embedder"]["parameters"]["advcal_edge.abstention"]
    assert json.loads(stated) == {"threshold": found["rule"], "alpha": 0.05}
    assert {flag for (flag,) in found["sure"]["thermal"]} == {True, False}
    assert found["sure"]["thermal"] == [[margin > found["rule"]] for margin in found["margins"]]
    assert found["configs"]["image_embedder"]["parameters"]["advcal_edge.abstention"] == "none"
    assert found["sure"]["image"] == [[False]] * 2


def test_the_self_test_ran_and_one_that_fails_keeps_the_model_away(found: dict[str, Any]) -> None:
    assert found["selftest"] == ["verified"]  # one of the bundles has one
    assert "fails its self-test" in found["refused"]["selftest"]


def test_an_answer_does_not_depend_on_who_else_asks(found: dict[str, Any]) -> None:
    assert found["together"] == [True] * 24


def test_an_independent_parser_reads_what_was_written(found: dict[str, Any]) -> None:
    assert found["configs"].keys() == {
        f"{m}_{k}" for m in ("image", "thermal", "audio") for k in ("engine", "embedder")
    }
    for index, modality in enumerate(("image", "thermal", "audio")):
        served = found["written"][index].served
        for kind in ("engine", "embedder"):
            config = found["configs"][f"{modality}_{kind}"]
            beside = {"advcal_edge.accept_retested": "false"} if kind == "embedder" else {}
            assert config["parameters"] == {**served.parameters, **beside}
            assert config["largest"] == 32
        assert found["configs"][f"{modality}_engine"]["warm"] == [1, 8, 32]
    assert found["configs"]["thermal_embedder"]["parameters"]["advcal_edge.verdict"] == "pass"


def test_a_bad_request_is_told_to_its_sender(found: dict[str, Any]) -> None:
    refused = found["refused"]
    assert "`frame_uint8` and `frame_uint16`; expected exactly one of" in refused["both"]
    assert "frame 0 is uint8 (8, 8, 2); expected uint8 or uint16 RGB" in refused["channels"]
    assert "frame 0 is silent" in refused["silence"] or "frame is silent" in refused["silence"]
    assert "expected a rate of 4000 to 384000 Hz" in refused["rate"]


def test_the_engine_s_configuration_ends_at_the_backend_that_is_missing(found: dict[str, Any]) -> None:
    """This server has no `onnxruntime` backend: a good configuration gets that far, a bad one does not."""
    assert "unable to find backend library for backend 'onnxruntime'" in found["refused"]["engine"]
    assert "backend library" not in found["refused"]["config"]
    assert found["refused"]["config"] != "nothing failed"


def test_a_changed_engine_is_not_served(found: dict[str, Any]) -> None:
    assert "was changed or truncated" in found["directly"]
    assert "was changed or truncated" in found["refused"]["tampered"]
