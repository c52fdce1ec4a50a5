"""`export --trt`, `verify` and `embed` with plans: built for real by TensorRT-RTX, run on a stand-in for a device."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from host_trt import HostGpu, host_gpu, host_metadata, host_plan, write_plan
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import EngineError
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.metadata import Device
from advcal_edge.spec import thermal

Capture = pytest.CaptureFixture[str]
SCHEMA = json.loads((Path(__file__).parents[2] / "advcal_edge/report/report.schema.json").read_text())


@pytest.fixture
def copy(exported: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported.path, tmp_path / "B"))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostGpu]:
    with host_gpu(monkeypatch) as found:
        yield found


def add_plan(
    bundle: Bundle, graph: str, name: str, profile: tuple[int, int, int] = (1, 8, 32), code: str = "", **changes: Any
) -> str:
    """Put a plan of the stand-in into a bundle; its name there."""
    source = bundle.file(f"onnx/{graph}.onnx").read_bytes()
    kind, precision = graph.split(".")
    plan = host_plan(source, profile, code=code)
    card = host_metadata(plan, source, precision, kind, **changes)
    path = f"engines/{name}-{card.sha256[:8]}"
    bundle.add({f"{path}.plan": plan, f"{path}.json": json.dumps(card.to_json()).encode()})
    return f"{path}.plan"


def test_rtx_builds_into_the_bundle(copy: Path, capsys: Capture) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    assert main(["export", str(copy), "--for", "rtx", "--precision", "fp16", "--batch", "1,1,4", "--json"]) == 0
    out, err = capsys.readouterr()
    forward, backward = json.loads(out)["plans"]
    assert forward["graph"] == "onnx/forward.fp16.onnx"
    assert backward["kind"] == "vjp"
    assert forward["product"] == "tensorrt_rtx"
    assert forward["precision"]["asked"] == forward["precision"]["achieved"] == "fp16"
    assert Bundle.open(copy).file(forward["path"]).stat().st_size == forward["bytes"]
    assert "building from onnx/forward.fp16.onnx" in err
    assert main(["inspect", str(copy)]) == 0
    assert forward["path"] in capsys.readouterr().out


@pytest.mark.slow
def test_graphs_that_are_missing_are_written_first(copy: Path, capsys: Capture) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    bundle = Bundle.open(copy)
    bundle.remove(["onnx/forward.int8.onnx"])
    assert main(["export", str(copy), "--for", "rtx", "--precision", "int8", "--no-gradient"]) == 0
    out, err = capsys.readouterr()
    assert "not in the bundle yet: onnx/forward.int8.onnx" in err
    assert "rtx1" in out
    assert Bundle.open(copy).has("onnx/forward.int8.onnx")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--for", "jetson"], "unknown target `jetson`"),
        (["--trt", "--batch", "8"], "expected `min,opt,max`"),
        (["--batch", "1,1,8"], "`--batch` without `--trt`"),
        (["--memory", "512", "--deterministic"], "`--memory`, `--deterministic` without `--trt`"),
        (["--for", "rtx", "--hardware", "ampere+"], "exclude each other"),
        (["--trt", "--hardware", "any"], "unknown value `any`"),
    ],
)
def test_what_cannot_be_built_is_2(copy: Path, options: list[str], words: str, capsys: Capture) -> None:
    before = (copy / "manifest.json").read_bytes()
    assert main(["export", str(copy), *options]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
    assert (copy / "manifest.json").read_bytes() == before


def test_a_missing_product_is_named_with_its_extra(
    copy: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, module, None)
    for options, words in (
        (["--trt"], ("TensorRT needs the package `tensorrt`", "advcal-edge[trt]")),
        (["--for", "jetson-orin"], ("TensorRT needs the package `tensorrt`", "advcal-edge[trt]")),
        (["--for", "rtx"], ("TensorRT-RTX needs the package `tensorrt_rtx`", "advcal-edge[rtx]")),
    ):
        assert main(["export", str(copy), *options]) == 2
        err = capsys.readouterr().err
        assert all(word in err for word in words)
    assert main(["doctor", "--for", "trt"]) == 1
    assert "cannot trt here" in capsys.readouterr().err


def test_a_bare_trt_points_to_rtx(copy: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", SimpleNamespace(__version__="1.7.1.116"))
    assert main(["export", str(copy), "--trt"]) == 2
    assert "build with TensorRT-RTX 1.7.1.116, which is installed: `--for rtx`" in capsys.readouterr().err


def test_verify_attacks_the_plan_itself(gpu: HostGpu, tmp_path: Path, capsys: Capture) -> None:
    linear = Linear.random(thermal(8))
    bundle = write_bundle(tmp_path / "B", linear, ("fp32", "fp16"), {}, gradient=True, samples=40)
    copy = bundle.path
    forward = add_plan(bundle, "forward.fp16", "host-trt10.3.0")
    backward = add_plan(Bundle.open(copy), "vjp.fp32", "host-trt10.3.0")
    options = ["--samples", "40", "--sources", "none", "--reference", "onnx", "--json"]
    code = main(["verify", str(copy), "--engine", forward, *options])
    captured = capsys.readouterr()
    (document,) = json.loads(captured.out)["engines"]
    jsonschema.validate(document, SCHEMA)
    bundle = Bundle.open(copy)
    files = bundle.manifest["files"]
    assert code == (0 if document["derived"]["verdict"] == "pass" else 1)
    assert document["measured"]["engine"]["path"] == forward
    assert document["measured"]["engine"]["fingerprint"].startswith("TensorRT 10.3.0 Host Orin")
    assert document["measured"]["engine"]["gradient"].startswith("TensorRT 10.3.0 Host Orin")
    assert document["measured"]["hashes"]["engine"] == files[forward]["sha256"]
    assert document["measured"]["hashes"]["graph"] == files["onnx/forward.fp16.onnx"]["sha256"]
    assert document["measured"]["hashes"]["gradient"] == files[backward]["sha256"]
    assert document["measured"]["engine"]["plan"]["product"] == "tensorrt"
    assert all(item["drop"] == 0 for item in document["derived"]["comparisons"] if item["name"] == "clean")
    report = copy / f"reports/{document['measured']['engine']['sha256'][:8]}/report.json"
    assert main(["verify", "--check", str(report), str(copy)]) == 0
    capsys.readouterr()
    document["measured"]["engine"]["plan"]["version"] = [11, 4]
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))
    assert main(["verify", "--check", str(forged), str(copy)]) == 1
    assert "engine.plan.version" in capsys.readouterr().out


def test_builds_that_differ_are_attacked_once_each(
    gpu: HostGpu, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear = Linear.random(thermal(8))
    bundle = write_bundle(tmp_path / "B", linear, ("fp32",), {}, gradient=True, samples=24)
    plan = add_plan(bundle, "forward.fp32", "host")

    def another(bundle: Bundle, product: object, card: object, folder: Path) -> Path:
        return write_plan(folder / "again.plan", linear.forward("int8"))

    monkeypatch.setattr("advcal_edge.export.tensorrt.plans.rebuild_plan", another)
    options = ["--engine", plan, "--rebuilds", "2", "--sources", "none", "--reference", "onnx", "--json"]
    main(["verify", str(bundle.path), *options])
    (document,) = json.loads(capsys.readouterr().out)["engines"]
    first, second, third = (build["sha256"] for build in document["derived"]["rebuilds"]["builds"])
    assert (first, second) == (document["measured"]["engine"]["sha256"], third)
    assert (document["derived"]["rebuilds"]["distinct"], first == second) == (2, False)


def test_a_backward_plan_of_another_model_is_not_used(gpu: HostGpu, tmp_path: Path) -> None:
    from advcal_edge.verify.models import open_engine

    linear = Linear.random(thermal(8))
    bundle = write_bundle(tmp_path / "B", linear, ("fp32",), {}, gradient=True)
    forward = add_plan(bundle, "forward.fp32", "host")
    bundle = Bundle.open(bundle.path)
    alone = open_engine(bundle, bundle.file(forward)).info
    assert alone["gradient"].startswith("onnxruntime")
    assert alone["plan"]["backward_sha256"] is None
    other = Linear.random(thermal(8), seed=9).vjp()
    plan = host_plan(other)
    card = host_metadata(plan, other, "fp32", "vjp")
    bundle = bundle.add({"engines/v.plan": plan, "engines/v.json": json.dumps(card.to_json()).encode()})
    strange = open_engine(bundle, bundle.file(forward)).info
    assert strange["gradient"].startswith("onnxruntime")
    backward = add_plan(bundle, "vjp.fp32", "host")
    bundle = Bundle.open(bundle.path)
    own = open_engine(bundle, bundle.file(forward)).info
    assert own["plan"]["backward_sha256"] == bundle.manifest["files"][backward]["sha256"]


def report_on(bundle: Bundle, name: str) -> Bundle:
    """Add a passing report on a file of the bundle."""
    from tiny import report_for

    report, content = report_for(bundle.file(name).read_bytes(), bundle=bundle)
    return bundle.add({report: content})


def test_auto_prefers_a_verified_plan_for_this_device(gpu: HostGpu, tmp_path: Path) -> None:
    linear = Linear.random(thermal(8))
    bundle = write_bundle(tmp_path / "B", linear, ("fp32", "fp16"), {"fp16": "pass"})
    assert "onnxruntime" in Embedder.load(bundle.path).fingerprint
    plan = add_plan(bundle, "forward.fp32", "host")
    elsewhere = add_plan(bundle, "forward.fp16", "other", device=Device("other", (9, 0)))
    assert "onnxruntime" in Embedder.load(bundle.path).fingerprint  # nobody verified the plan
    bundle = report_on(Bundle.open(bundle.path), elsewhere)
    assert "onnxruntime" in Embedder.load(bundle.path).fingerprint  # verified, for another device
    bundle = report_on(bundle, plan)
    embedder = Embedder.load(bundle.path, require_verified=True)
    assert embedder.fingerprint.startswith("TensorRT 10.3.0 Host Orin")
    assert (embedder.verified, embedder.precision) == (True, "fp32")
    with pytest.raises(EngineError, match="built on other"):
        Embedder.load(bundle.path, elsewhere)


def test_bench_and_embed_run_plans(gpu: HostGpu, tmp_path: Path, capsys: Capture) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(thermal(8)), ("fp32",), {})
    plan = add_plan(bundle, "forward.fp32", "host")
    assert main(["bench", str(bundle.path), "--engine", plan, "--seconds", "0.05", "--batch", "1"]) == 0
    assert "TensorRT 10.3.0 Host Orin" in capsys.readouterr().err


def test_without_a_device_a_plan_says_so(copy: Path, capsys: Capture) -> None:
    plan = add_plan(
        Bundle.open(copy), "forward.fp32", "host", product="tensorrt_rtx", version=(1, 7, 1, 116), device=None
    )
    pytest.importorskip("tensorrt_rtx_bindings")
    assert main(["verify", str(copy), "--engine", plan]) == 2
    assert "no CUDA device can be used here" in capsys.readouterr().err


@pytest.mark.slow
def test_trt_builds_inspects_and_keeps_timings(gpu: HostGpu, copy: Path, capsys: Capture) -> None:
    asked = ["export", str(copy), "--trt", "--precision", "fp16,int8", "--batch", "1,2,4", "--json"]
    assert main(asked) == 0
    out, err = capsys.readouterr()
    built = json.loads(out)["plans"]
    assert [plan["precision"] for plan in built] == [
        {"asked": name, "achieved": name, "evidence": "engine"} for name in ("fp16", "int8", "fp32")
    ]
    assert all(plan["path"].startswith("engines/host-orin-trt10.3.0-") for plan in built)
    assert "TensorRT 10.3.0 on Host Orin (compute capability 8.7)" in err
    (timings,) = copy.with_name("B.timing").iterdir()
    assert timings.name == "host-orin-tensorrt10.3.0.cache"
    assert main([*asked, "--deterministic"]) == 0
    assert [plan["sha256"] for plan in json.loads(capsys.readouterr().out)["plans"]] == [p["sha256"] for p in built]
    card = json.loads(Bundle.open(copy).file(built[0]["path"].replace(".plan", ".json")).read_text())
    assert "ERROR_ON_TIMING_CACHE_MISS" in card["flags"]
    options = ["--samples", "16", "--sources", "none", "--reference", "onnx"]
    assert main(["verify", str(copy), "--engine", built[0]["path"], *options]) in (0, 1)
    assert "plan fp16" in capsys.readouterr().err


def test_deterministic_needs_timings(gpu: HostGpu, copy: Path, capsys: Capture) -> None:
    assert main(["export", str(copy), "--trt", "--deterministic"]) == 2
    assert "build once without `--deterministic`" in capsys.readouterr().err


def test_memory_runs_out_in_words(gpu: HostGpu, copy: Path, capsys: Capture) -> None:
    assert main(["export", str(copy), "--trt", "--memory", "1"]) == 2
    err = capsys.readouterr().err
    assert "TensorRT 10.3.0 ran out of memory while building `forward.fp32.onnx` (allowed: 1 MiB)" in err
    assert not (copy / "engines").exists()


def test_precision_that_is_not_achieved_is_an_error(gpu: HostGpu, copy: Path, capsys: Capture) -> None:
    gpu.told_as["HALF"] = "Float"
    assert main(["export", str(copy), "--trt", "--precision", "fp16"]) == 2
    err = capsys.readouterr().err
    assert "precision not achieved: 25 of 26 matrix products run in another precision than the graph says" in err
    assert not (copy / "engines").exists()


def test_hardware_levels_that_this_version_lacks(gpu: HostGpu, copy: Path, capsys: Capture) -> None:
    assert main(["export", str(copy), "--trt", "--hardware", "same-capability"]) == 2
    assert "has no hardware level `same-capability`" in capsys.readouterr().err


def test_code_in_a_plan_takes_consent(gpu: HostGpu, tmp_path: Path, capsys: Capture) -> None:
    bundle = write_bundle(tmp_path / "B", Linear.random(thermal(8)), ("fp32",), {}, gradient=True)
    engine = add_plan(bundle, "forward.fp32", "here", code="rm")
    add_plan(Bundle.open(bundle.path), "vjp.fp32", "there", code="rm -r")
    np.save(tmp_path / "x.npy", np.full((8, 8), 29000, np.uint16))
    embed = ["embed", str(bundle.path), str(tmp_path / "x.npy"), "--engine", engine]
    bench = ["bench", str(bundle.path), "--engine", engine, "--batch", "1", "--seconds", "0"]
    verify = ["verify", str(bundle.path), "--engine", engine, "--reference", "onnx", "--samples", "8"]
    for command in (embed, bench, verify):
        assert main(command) == 2
        assert "carries code" in capsys.readouterr().err
    assert gpu.executed == []
    for command in (embed, bench):
        assert main([*command, "--allow-plan-code"]) == 0
        assert gpu.executed.pop() == "rm"
    assert main([*verify, "--allow-plan-code"]) in (0, 1)
    assert gpu.executed == ["rm", "rm -r"]
