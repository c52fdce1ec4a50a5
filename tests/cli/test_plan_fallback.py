"""The precision fallback of plans on the stand-in for a device: graphs that overflow, plans that it mends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import overflowing
import pytest
from host_trt import HostGpu, host_gpu
from test_fallback import UNTIL_PARITY, overflow, plain  # noqa: F401  # a fixture

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.runtime.engine import plan_metadata

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostGpu]:
    with host_gpu(monkeypatch) as found:
        yield found


@pytest.mark.slow
def test_the_plan_of_the_step_that_mends_it_is_kept(
    gpu: HostGpu,
    plain: Bundle,  # noqa: F811
    tmp_path: Path,
    capsys: Capture,
) -> None:
    encoder = overflowing.attention("imu")
    target = overflow(plain, tmp_path / "B", encoder)
    assert main(["export", str(target), "--trt", *UNTIL_PARITY, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (fallback,) = document["searches"]
    assert [(item["step"], item["verdict"]) for item in fallback["attempts"]] == [
        ("as built", "fail"),
        ("extra outputs", "skipped"),
        ("fp32 attention", "pass"),
    ]
    bundle = Bundle.open(target)
    cards = plan_metadata(bundle)
    assert sorted((card.kind, card.precision, card.step) for card in cards.values()) == [
        ("forward", "fp16", "fp32 attention"),
        ("vjp", "fp32", None),
    ]
    (card,) = (card for card in cards.values() if card.kind == "forward")
    assert card.sha256 == fallback["attempts"][-1]["engine"]
    report = json.loads((target / f"reports/{card.sha256[:8]}/report.json").read_text())
    assert (report["measured"]["engine"]["step"], report["measured"]["engine"]["plan"]["product"]) == (
        "fp32 attention",
        "tensorrt",
    )
    assert report["measured"]["engine"]["gradient"].startswith("TensorRT")
    assert "fp32" in card.layers.values()  # the scores


@pytest.mark.slow
def test_fusions_are_broken_before_precision_is_given_back(
    gpu: HostGpu,
    plain: Bundle,  # noqa: F811
    tmp_path: Path,
    capsys: Capture,
) -> None:
    """The stand-in computes wrongly whatever it may fuse, as TensorRT has done with attention."""
    gpu.wrong_where_fused = True
    target = Path(shutil.copytree(plain.path, tmp_path / "B"))
    assert main(["export", str(target), "--trt", *UNTIL_PARITY, "--json"]) == 0
    (fallback,) = json.loads(capsys.readouterr().out)["searches"]
    assert [(item["step"], item["verdict"]) for item in fallback["attempts"]] == [
        ("as built", "fail"),
        ("extra outputs", "pass"),
    ]
    (card,) = (card for card in plan_metadata(Bundle.open(target)).values() if card.kind == "forward")
    assert (card.unfused, card.step) == (True, "extra outputs")


def test_a_machine_without_a_device_searches_no_plans(
    plain: Bundle,  # noqa: F811
    tmp_path: Path,
    capsys: Capture,
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    target = Path(shutil.copytree(plain.path, tmp_path / "B"))
    before = (target / "manifest.json").read_bytes()
    assert main(["export", str(target), "--for", "rtx", *UNTIL_PARITY]) == 2
    assert "no CUDA device can be used here" in capsys.readouterr().err
    assert (target / "manifest.json").read_bytes() == before
