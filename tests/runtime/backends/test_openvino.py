"""OpenVINO IR as an engine: right numbers, honest precision, its bytes alone, refused files; attacked like any."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_graphs import looping
from tiny import DIM, BundleMaker, Linear, write_bundle

from advcal_edge.cli import main, probes
from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.backends import open_backend
from advcal_edge.runtime.backends.openvino import (
    HINT,
    OPTIONS,
    OpenVinoBackend,
    import_openvino,
    int8_arithmetic,
    quantized_product,
)
from advcal_edge.runtime.engine_file import EngineFile, graph_digest
from advcal_edge.runtime.model import Runner, open_runner, open_vjp
from advcal_edge.runtime.verified import Verified, provider_of
from advcal_edge.spec import thermal
from advcal_edge.storage import sha256_bytes

LINEAR = Linear.random(thermal(8))
SPEC = LINEAR.modality.input
RNG = np.random.default_rng(0)
X = RNG.random((70, *SPEC.shape), dtype=np.float32)  # more than one run takes

try:
    openvino = import_openvino()
except DependencyError:
    pytest.skip("openvino is not installed", allow_module_level=True)
lacks_bf16 = "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def convert(graph: bytes, path: Path, *, compress: bool = False, execution: str | None = None) -> Path:
    """A graph as an IR at `path`."""
    model = openvino.Core().read_model(graph, b"")
    if execution is not None:
        model.set_rt_info(execution, [OPTIONS, HINT])
    openvino.save_model(model, path, compress_to_fp16=compress)
    return path


@pytest.fixture
def ir(tmp_path: Path) -> Path:
    return convert(LINEAR.forward(), tmp_path / "m.xml")


def test_embeds_like_the_arithmetic(ir: Path) -> None:
    runner = open_runner(ir, SPEC)
    for x in (X, X[:1], X[:0], X[9::-2], np.asfortranarray(X[:3])):
        z = runner(x)
        assert (z.shape, z.dtype) == ((len(x), DIM), np.float32)
        np.testing.assert_allclose(z, LINEAR.embed(x), atol=1e-5)


def test_computes_gradients(tmp_path: Path) -> None:
    path = convert(LINEAR.vjp(), tmp_path / "v.xml")
    backward, peer = open_vjp(path, SPEC), open_vjp(EngineFile.of(write(tmp_path / "v.onnx", LINEAR.vjp())), SPEC)
    v = RNG.standard_normal((len(X), DIM)).astype(np.float32)
    np.testing.assert_allclose(backward.pull(X, v), peer.pull(X, v), atol=1e-5)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_arrays_are_the_callers_own(ir: Path) -> None:
    runner, x = open_runner(ir, SPEC), X[:4].copy()
    first = runner(x)
    kept = first.copy()
    first[:] = 7
    x.setflags(write=False)
    np.testing.assert_array_equal(runner(x), kept)
    x = X[4:8].copy()
    second = runner(x)
    x[:] = 0
    runner(X[:4])
    np.testing.assert_allclose(second, LINEAR.embed(X[4:8]), atol=1e-5)


def test_threads_take_turns(ir: Path) -> None:
    runner, wrong = open_runner(ir, SPEC), []
    parts = [X[k : k + 1 + k % 5] for k in range(8)]

    def work(x: Any) -> None:
        for _ in range(50):
            if not np.allclose(runner(x), LINEAR.embed(x), atol=1e-5):
                wrong.append(len(x))

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_runs_is_what_was_hashed(ir: Path) -> None:
    file = EngineFile.of(ir)
    weights = ir.with_suffix(".bin")
    both = bytes.fromhex(sha256_bytes(ir.read_bytes())) + bytes.fromhex(sha256_bytes(weights.read_bytes()))
    assert file.sha256 == sha256_bytes(both) == graph_digest(ir)
    ir.write_bytes(b"")
    weights.write_bytes(b"")
    runner = Runner(open_backend(file), SPEC)
    np.testing.assert_allclose(runner(X), LINEAR.embed(X), atol=1e-5)
    assert runner.sha256 == file.sha256 != graph_digest(ir)


@pytest.mark.parametrize(
    ("precision", "compress", "said"), [("fp32", False, "fp32"), ("fp16", False, "fp16"), ("fp32", True, "custom")]
)
def test_says_what_runs(precision: str, compress: bool, said: str, tmp_path: Path) -> None:
    backend = open_backend(convert(LINEAR.forward(precision), tmp_path / "m.xml", compress=compress))
    version = openvino.get_version().split("-")[0]
    assert backend.fingerprint == f"openvino {version} CPU:f32 sha256:{backend.sha256[:12]}"
    assert backend.precision == said
    z = Runner(backend, SPEC)(X)
    np.testing.assert_allclose(z, LINEAR.embed(X), atol=2e-3 if said != "fp32" else 1e-5)


def test_another_precision_of_arithmetic_is_named_in_the_ir(tmp_path: Path) -> None:
    path = convert(LINEAR.forward(), tmp_path / "m.xml", execution="bf16")
    assert graph_digest(path) != graph_digest(convert(LINEAR.forward(), tmp_path / "n.xml"))
    if lacks_bf16:  # OpenVINO would compute in float32 without a word
        with pytest.raises(EngineError, match="is to run in bf16, which this CPU does not have"):
            open_backend(path)
    else:
        backend = open_backend(path)
        assert " CPU:bf16 " in backend.fingerprint
        np.testing.assert_allclose(Runner(backend, SPEC)(X), LINEAR.embed(X), atol=0.02)


def test_a_report_holds_for_the_precision_of_its_arithmetic() -> None:
    assert provider_of("openvino 2026.4.1 CPU:f32 sha256:0123") == "CPU:f32"
    report = Verified("CPU:f32:int8-exact")
    assert report.covers("openvino 2026.4.1 CPU:f32:int8-exact sha256:0123")
    assert not report.covers("openvino 2026.4.1 CPU:f32:int8-saturating sha256:0123")
    assert not report.covers("openvino 2026.4.1 CPU:bf16:int8-exact sha256:0123")


def test_says_how_int8_is_added(tmp_path: Path) -> None:
    """Sums beyond 16 bits against the exact ones, with other numbers than the backend tries."""
    weights = RNG.choice(np.array([127, 120, 110], np.int8), (64, DIM))
    path = tmp_path / "q.xml"
    openvino.save_model(quantized_product(openvino, weights), path)
    backend = open_backend(path)
    x = RNG.choice(np.array([1, 0.95], np.float32), (5, 64))
    (z,) = backend.run({backend.inputs[0].name: x})
    exact = np.round(x * 127) / 127 @ weights.astype(np.float64)
    found = "exact" if np.allclose(z, exact, rtol=0.02) else "saturating"
    assert found == int8_arithmetic()
    assert f" CPU:f32:int8-{found} " in backend.fingerprint


def test_another_shape_is_a_misfit(ir: Path) -> None:
    with pytest.raises(EngineError, match=r"IR `.*m.xml` is `x` float32 \(\?, 1, 8, 8\) -> `z` float32 \(\?, 6\)"):
        open_runner(ir, thermal(4).input)
    fails(lambda: OpenVinoBackend(ir).run({"x": np.zeros((2, 3), np.float32)}), r"failed on x \(2, 3\)")


def fails(call: Callable[[], object], words: str) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        call()
    assert "\n" not in caught.value.message


def test_refuses_what_it_cannot_run(ir: Path, tmp_path: Path) -> None:
    ir.write_text(ir.read_text().replace('type="MatMul"', 'type="Telepathy"'))
    fails(lambda: open_backend(ir), "is no IR that openvino .* can compile")
    fails(lambda: open_backend(write(tmp_path / "n.xml", LINEAR.forward())), "its XML is broken")
    ir.with_suffix(".bin").unlink()
    fails(lambda: open_backend(ir), "`m.bin`, which is not there")


PROGRAM = """
import sys
import numpy as np
from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends import first_run, open_backend

first_run.GRACE = 0.1
honest, looping = sys.argv[1:]
assert "openvino" not in sys.modules
open_backend(honest)
print("openvino" in sys.modules, [name for name in sys.modules if name.startswith("openvino_telemetry")])
try:
    open_backend(looping).run({"x": np.zeros((1, 1, 8, 8), np.float32)})
except EngineError as error:
    print(error)
"""


def test_a_process_of_its_own(ir: Path, tmp_path: Path) -> None:
    """OpenVINO is loaded when it is needed and reports to nobody; a loop without end is stopped with the process."""
    path = convert(looping(LINEAR, 2**40, seen=False).SerializeToString(), tmp_path / "loop.xml")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ir), str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "ADVCAL_MAX_FIRST_RUN_SECONDS": "1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    loaded, stopped = done.stdout.splitlines()
    assert loaded == "True []"
    assert "does not come to an end in 1 s and was stopped" in stopped


def test_missing_package(ir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "openvino":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match="needs the package `openvino`") as caught:
        open_backend(ir)
    assert "advcal-edge[openvino]" in str(caught.value.hint)


def test_doctor_tries_it() -> None:
    finding = probes.probe("openvino")
    assert finding.works, finding.detail
    assert "CPU" in finding.detail


def test_the_embedder_and_bench_run_it(ir: Path, make_bundle: BundleMaker, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_bundle(LINEAR).path
    embedder = Embedder.load(bundle, str(ir), threads=1)
    assert (embedder.precision, embedder.verified) == ("fp32", False)
    np.testing.assert_allclose(embedder(X), LINEAR.embed(X), atol=1e-5)
    assert main(["bench", str(bundle), "--engine", str(ir), "--batch", "1", "--seconds", "0.01", "--json"]) == 0
    assert " CPU:f32 " in json.loads(capsys.readouterr().out)["engine"]["fingerprint"]


def test_a_bundle_may_list_it(ir: Path, make_bundle: BundleMaker, capsys: pytest.CaptureFixture[str]) -> None:
    files = {f"engines/{path.name}": path.read_bytes() for path in (ir, ir.with_suffix(".bin"))}
    bundle = make_bundle(LINEAR).add(files)
    runner = Embedder.load(bundle.path, "engines/m.xml").runner
    assert runner.sha256 == graph_digest(ir)
    assert main(["inspect", str(bundle.path), "--json"]) == 0
    assert "engines/m.xml" in json.loads(capsys.readouterr().out)["graphs"]
    (bundle.path / "engines/m.bin").write_bytes(bytes(64))
    with pytest.raises(Exception, match=r"m\.bin.* was changed"):
        Embedder.load(bundle.path, "engines/m.xml")


SAMPLES = 200


def verify(bundle: Path, engine: Path, samples: int = SAMPLES) -> dict[str, Any]:
    """Attack one engine, and read the report that was written."""
    options = ["--engine", str(engine), "--reference", "onnx", "--samples", str(samples), "--sources", "none"]
    code = main(["verify", str(bundle), *options])
    (path,) = bundle.glob("reports/*/report.json")
    report: dict[str, Any] = json.loads(path.read_text())
    assert code == (0 if report["derived"]["verdict"] == "pass" else 1)
    return report


@pytest.fixture
def attackable(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "B", LINEAR, ("fp32",), {}, samples=SAMPLES, gradient=True).path


def test_an_honest_one_passes_and_is_then_verified(ir: Path, attackable: Path) -> None:
    report = verify(attackable, ir)
    assert (report["derived"]["verdict"], report["derived"]["reasons"]) == ("pass", [])
    engine = report["measured"]["engine"]
    assert engine["sha256"] == report["measured"]["hashes"]["graph"] == graph_digest(ir)
    assert engine["fingerprint"].startswith("openvino ")
    assert "onnxruntime" in engine["gradient"]  # BPDA: backward by the bundle's own graph
    assert Embedder.load(attackable, str(ir), require_verified=True).verified
    (path,) = attackable.glob("reports/*/report.json")
    assert main(["verify", "--check", str(path), str(attackable), "--engine", str(ir)]) == 0
    weights = bytearray(ir.with_suffix(".bin").read_bytes())
    zeroed(weights)
    ir.with_suffix(".bin").write_bytes(weights)
    assert main(["verify", "--check", str(path), str(attackable), "--engine", str(ir)]) == 1
    with pytest.raises(EngineError, match="has no passing report"):
        Embedder.load(attackable, str(ir), require_verified=True)


def zeroed(weights: bytearray) -> None:
    """Nothing is left of the largest weights but zeros."""
    weights[16 : 16 + LINEAR.weights.nbytes // 2] = bytes(LINEAR.weights.nbytes // 2)


def of_another_model(weights: bytearray) -> None:
    """The weights of another encoder."""
    weights[16 : 16 + LINEAR.weights.nbytes] = Linear.random(thermal(8), seed=1).weights.tobytes()


@pytest.mark.parametrize("sabotage", [zeroed, of_another_model])
def test_a_sabotaged_one_is_rejected(sabotage: Callable[[bytearray], None], ir: Path, attackable: Path) -> None:
    weights = bytearray(ir.with_suffix(".bin").read_bytes())
    assert weights.find(LINEAR.weights.tobytes()) == 16
    sabotage(weights)
    ir.with_suffix(".bin").write_bytes(weights)
    report = verify(attackable, ir, 64)
    assert report["derived"]["verdict"] == "fail"
    assert report["derived"]["reasons"]
