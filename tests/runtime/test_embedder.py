"""The robot's side: which engine runs, what vouches for it, and what is refused on the way in and out."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from tiny import CLASSES, DIM, BundleMaker, Linear, make_centers, report_for, write_bundle

from advcal_edge.bundle import MANIFEST, Bundle
from advcal_edge.errors import BundleError, EngineError, InputError
from advcal_edge.runtime import Embedder, Match
from advcal_edge.runtime.engine import choose_engine, read_engine
from advcal_edge.runtime.model import open_runner
from advcal_edge.spec import image, thermal
from advcal_edge.storage import sha256_bytes

THERMAL = Linear.random(thermal(8))
ALL = ("fp32", "fp16", "int8")


def sample(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((n, 1, 8, 8), dtype=np.float32)


def test_embeds_and_classifies(linear: Linear, make_bundle: BundleMaker) -> None:
    bundle = make_bundle(linear)
    embedder = Embedder.load(bundle.path)
    x = bundle.probe().x
    z = embedder(x)
    np.testing.assert_allclose(z, linear.embed(x), atol=1e-5)
    assert (embedder.modality, embedder.spec) == (linear.modality, linear.modality.input)
    assert embedder.labels == make_centers().labels
    assert (embedder.precision, embedder.verified) == ("fp32", False)
    assert sha256_bytes(linear.forward())[:12] in embedder.fingerprint
    found = embedder.classify(x, top=CLASSES)
    scores = np.exp(make_centers().scores(linear.embed(x)))
    for row, matches in zip(scores / scores.sum(axis=1, keepdims=True), found, strict=True):
        assert [m.label for m in matches] == [embedder.labels[k] for k in np.argsort(-row)]
        np.testing.assert_allclose([m.score for m in matches], np.sort(row)[::-1], atol=1e-5)


def test_frames_of_any_size(make_bundle: BundleMaker) -> None:
    rng = np.random.default_rng(0)
    embedder = Embedder.load(make_bundle(Linear.random(image(8))).path)
    z = embedder.embed_frames([rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((8, 8), (20, 31))])
    assert z.shape == (2, DIM)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)


def test_nothing_in_nothing_out(make_bundle: BundleMaker) -> None:
    embedder = Embedder.load(make_bundle().path)
    assert embedder(sample(0)).shape == (0, DIM)
    assert embedder.embed_frames([]).shape == (0, DIM)
    assert embedder.match(embedder(sample(0))) == embedder.classify(sample(0)) == []
    assert embedder.classify(sample(0)) == []


def test_top(make_bundle: BundleMaker) -> None:
    embedder = Embedder.load(make_bundle().path)
    assert [len(row) for row in embedder.classify(sample(2))] == [3, 3]
    assert [len(row) for row in embedder.classify(sample(1), top=99)] == [CLASSES]
    with pytest.raises(InputError, match="at least 1"):
        embedder.classify(sample(1), top=0)


@settings(max_examples=40, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_scores_are_fractions_in_order(scale: float, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "scores"
    embedder = Embedder.load(path if path.is_dir() else write_bundle(path, THERMAL, ("fp32",), {}).path)
    z = (np.random.default_rng(seed).standard_normal((3, DIM)) * scale).astype(np.float32)
    for matches in embedder.match(z, top=CLASSES):
        scores = [m.score for m in matches]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1)
        assert len({m.label for m in matches}) == CLASSES


def test_arrays_are_the_callers_own(make_bundle: BundleMaker) -> None:
    embedder = Embedder.load(make_bundle().path)
    x = sample(2)
    before, first = x.copy(), embedder(x)
    kept = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(embedder(x), kept)
    np.testing.assert_array_equal(x, before)


def test_many_threads_one_embedder(make_bundle: BundleMaker) -> None:
    embedder = Embedder.load(make_bundle().path)
    batches = [sample(n % 5 + 1, seed=n) for n in range(40)]
    expected = [embedder(x) for x in batches]
    found: dict[int, NDArray[np.float32]] = {}

    def work(part: range) -> None:
        for k in part:
            found[k] = embedder(batches[k])

    workers = [threading.Thread(target=work, args=(range(start, 40, 4),)) for start in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for k, z in enumerate(expected):
        np.testing.assert_array_equal(found[k], z)


def test_is_frozen(make_bundle: BundleMaker) -> None:
    embedder = Embedder.load(make_bundle().path)
    with pytest.raises(FrozenInstanceError):
        embedder.verified = True  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Match("cat", 0.5).score = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("x", "complaint"),
    [
        (np.full((1, 1, 8, 8), np.nan, np.float32), "NaN"),
        (np.full((1, 1, 8, 8), np.inf, np.float32), "NaN or infinite"),
        (sample(1).astype(np.float64), "float64"),
        (np.zeros((1, 1, 8, 8), np.uint8), "uint8"),
        (sample(1) + 1, "spans"),
        (sample(1) - 1, "spans"),
        (sample(1)[0], r"\(1, 8, 8\)"),
        (sample(1)[:, :, :7], r"\(1, 1, 7, 8\)"),
        (sample(1).tolist(), "list"),
        (None, "NoneType"),
    ],
)
def test_refuses_what_is_not_physical(make_bundle: BundleMaker, x: NDArray[np.float32], complaint: str) -> None:
    embedder = Embedder.load(make_bundle().path)
    with pytest.raises(InputError, match=complaint) as caught:
        embedder(x)
    assert "expected" in caught.value.message
    assert "float32 (n, 1, 8, 8) within [0, 1]" in caught.value.message


@pytest.mark.parametrize(
    ("verdicts", "chosen", "verified"),
    [
        ({}, "fp32", False),
        ({"fp32": "pass"}, "fp32", True),
        ({"fp32": "pass", "fp16": "pass"}, "fp16", True),
        ({"fp32": "pass", "fp16": "pass", "int8": "pass"}, "int8", True),
        ({"fp32": "pass", "fp16": "inconclusive", "int8": "fail"}, "fp32", True),
        ({"fp32": "fail", "int8": "fail"}, "fp32", False),
        ({"fp32": "fail", "fp16": "pass"}, "fp16", True),
    ],
)
def test_auto_prefers_what_is_verified(
    make_bundle: BundleMaker, verdicts: dict[str, str], chosen: str, verified: bool
) -> None:
    embedder = Embedder.load(make_bundle(precisions=ALL, verdicts=verdicts).path)
    assert (embedder.precision, embedder.verified) == (chosen, verified)


@pytest.mark.parametrize("precision", ALL)
def test_named_engine(make_bundle: BundleMaker, precision: str) -> None:
    bundle = make_bundle(precisions=ALL, verdicts={"int8": "pass"})
    names = (precision, f"onnx/forward.{precision}.onnx", str(bundle.path / f"onnx/forward.{precision}.onnx"))
    for name in names:
        embedder = Embedder.load(str(bundle.path), engine=name)
        assert (embedder.precision, embedder.verified) == (precision, precision == "int8")
        np.testing.assert_allclose(embedder(sample(3)), THERMAL.embed(sample(3)), atol=0.1)


def test_engine_outside_the_bundle(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle(verdicts={"fp32": "pass"})
    same, other = tmp_path / "same.onnx", tmp_path / "other.onnx"
    same.write_bytes(THERMAL.forward())
    other.write_bytes(Linear.random(thermal(8), seed=5).forward())
    assert Embedder.load(bundle.path, str(same), require_verified=True).verified
    assert not Embedder.load(bundle.path, str(other)).verified
    with pytest.raises(EngineError, match="no passing report"):
        Embedder.load(bundle.path, str(other), require_verified=True)


def test_engine_that_does_not_exist(make_bundle: BundleMaker) -> None:
    path = make_bundle().path
    with pytest.raises(EngineError, match=r"no graph `onnx/forward\.int8\.onnx`; it has onnx/forward\.fp32") as caught:
        Embedder.load(path, "int8")
    assert f"advcal-edge export {path}" in str(caught.value.hint)
    with pytest.raises(EngineError, match="neither `auto`, `fp32`") as caught:
        Embedder.load(path, "int4")
    assert "onnx/forward.fp32.onnx" in str(caught.value.hint)


def test_bundle_that_was_never_exported(make_bundle: BundleMaker) -> None:
    path = make_bundle(precisions=()).path
    with pytest.raises(EngineError, match="it has none"):
        Embedder.load(path)


def test_required_verification(make_bundle: BundleMaker) -> None:
    for verdict in ("fail", "inconclusive"):
        path = make_bundle(verdicts={"fp32": verdict}).path
        with pytest.raises(EngineError, match="no passing report") as caught:
            Embedder.load(path, require_verified=True)
        assert f"advcal-edge verify {path}" in str(caught.value.hint)
    assert Embedder.load(make_bundle(verdicts={"fp32": "pass"}).path, require_verified=True).verified


def test_report_for_another_engine(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    name, data = report_for(THERMAL.forward())
    sha256 = sha256_bytes(THERMAL.forward())
    near = sha256[:8] + "0" * 56  # same folder, other engine
    report = json.loads(data)
    for judged in (near, sha256.upper(), sha256[:8], None):
        report["measured"]["engine"]["sha256"] = report["measured"]["hashes"]["engine"] = judged
        bundle = bundle.add({name: json.dumps(report).encode()})
        if judged == near:
            assert not Embedder.load(bundle.path).verified
        with pytest.raises((EngineError, BundleError), match=r"is no report|no passing report"):
            Embedder.load(bundle.path, require_verified=True)


def test_report_that_was_changed(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(verdicts={"fp32": "fail"})
    name, passing = report_for(THERMAL.forward())
    (bundle.path / name).write_bytes(passing)
    for engine in ("auto", "fp32"):
        with pytest.raises(BundleError, match="was changed or truncated"):
            Embedder.load(bundle.path, engine)


def test_report_that_nobody_listed(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    name, passing = report_for(THERMAL.forward())
    (bundle.path / name).parent.mkdir(parents=True)
    (bundle.path / name).write_bytes(passing)
    assert not Embedder.load(bundle.path).verified


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"{}", b"\xff", b'{"schema": "advcal-edge/report/4", "measured": {"engine": 1}}']
)
def test_report_that_is_none(make_bundle: BundleMaker, data: bytes) -> None:
    bundle = make_bundle().add({report_for(THERMAL.forward())[0]: data})
    with pytest.raises(BundleError, match="is no report") as caught:
        Embedder.load(bundle.path)
    assert "verify again" in str(caught.value.hint)


LAXER: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "margin": lambda m: m.update(margin=0.9),
    "radius": lambda m: m["threat"].update(eps=1 / 255),
    "norm": lambda m: m["threat"].update(norm="l2"),
    "bounds": lambda m: m["threat"].update(bounds=[0, 2]),
    "centers": lambda m: m["hashes"].update(centers="0" * 64),
    "samples": lambda m: m["hashes"].update(data="0" * 64),
    "losses": lambda m: m["budget"].update(losses=["ce"]),
    "budget's name": lambda m: m["budget"].update(name="mine"),
    "steps": lambda m: m["budget"].update(pgd_steps=1),
    "an attack that ran with other settings": lambda m: m["attacks"][0].update(attack="PGD(steps=1, loss='ce')"),
    "an attack that never ran": lambda m: m["attacks"].pop(),
    "no black box on the engine": lambda m: m.update(
        attacks=[item for item in m["attacks"] if (item["route"], item["crafted_on"]) != ("black box", "engine")]
    ),
    "a reference that is another model": lambda m: m.update(anchor=[0.5] * len(m["truth"])),
    "a reference without stored embeddings": lambda m: m.update(anchor=None),
    "nothing but itself": lambda m: m["reference"].update(sha256=m["engine"]["sha256"]) or m.update(anchor=None),
    "figures": lambda m: m["calibration"]["worst"].update(correct=1),
    "no figures": lambda m: m.update(calibration=None),
    "what was calibrated": lambda m: m["hashes"].update(bundle="0" * 64),
    "a failed check": lambda m: m["checks"]["unit_norm"].update(value=0.5),
    "a skipped check": lambda m: m["checks"].update(eps_zero={"skipped": "no time"}),
}
"""Terms that are laxer than the bundle's, or a run that was not the one that its budget names."""


@pytest.mark.parametrize("name", LAXER)
def test_a_pass_at_laxer_terms_verifies_nothing(make_bundle: BundleMaker, name: str) -> None:
    place, data = report_for(THERMAL.forward())
    report = json.loads(data)
    LAXER[name](report["measured"])  # and the derived half still says `pass`
    bundle = make_bundle().add({place: json.dumps(report).encode()})
    assert not Embedder.load(bundle.path).verified
    with pytest.raises(EngineError, match="no passing report"):
        Embedder.load(bundle.path, require_verified=True)


def test_the_verdict_is_derived_again_and_not_believed(make_bundle: BundleMaker) -> None:
    place, data = report_for(THERMAL.forward(), "fail")
    report = json.loads(data)
    report["derived"] |= {"verdict": "pass", "reasons": []}
    assert not Embedder.load(make_bundle().add({place: json.dumps(report).encode()}).path).verified


def test_too_few_samples_verify_nothing_even_without_a_flip(make_bundle: BundleMaker) -> None:
    for samples, verified in ((188, False), (189, True)):  # Tango's interval of no flips: z^2 / (n + z^2) < 0.02
        place, data = report_for(THERMAL.forward(), "pass" if verified else "inconclusive", samples=samples, lost=0.0)
        assert Embedder.load(make_bundle().add({place: data}).path).verified is verified


def test_report_of_another_schema(make_bundle: BundleMaker) -> None:
    bundle = make_bundle().add(dict([report_for(THERMAL.forward(), schema="advcal-edge/report/9")]))
    with pytest.raises(BundleError, match="report/9"):
        Embedder.load(bundle.path)


@pytest.mark.parametrize("name", ["onnx/forward.fp32.onnx", "centers.safetensors"])
def test_file_that_was_changed(make_bundle: BundleMaker, name: str) -> None:
    bundle = make_bundle()
    path = bundle.path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match="was changed or truncated"):
        Embedder.load(bundle.path)


@pytest.mark.parametrize("engine", ["auto", "fp32", "onnx/forward.fp32.onnx"])
def test_listed_engine_that_is_not_there(make_bundle: BundleMaker, engine: str) -> None:
    bundle = make_bundle()
    (bundle.path / "onnx/forward.fp32.onnx").unlink()
    with pytest.raises(BundleError, match="which its manifest lists"):
        Embedder.load(bundle.path, engine)


def test_weights_beside_the_graph_are_checked(make_bundle: BundleMaker) -> None:
    bundle = make_bundle().add({"onnx/forward.fp32.onnx.data": b"weights"})
    (bundle.path / "onnx/forward.fp32.onnx.data").write_bytes(b"changed")
    with pytest.raises(BundleError, match="was changed or truncated"):
        Embedder.load(bundle.path)


def test_weights_beside_the_graph_that_nobody_listed_are_not_read(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(verdicts={"fp32": "pass"})
    (bundle.path / "onnx/forward.fp32.onnx.data").write_bytes(b"planted")
    assert Embedder.load(bundle.path, require_verified=True).verified


@pytest.mark.parametrize("engine", ["auto", "onnx/forward.fp32.onnx", "path", "detour"])
def test_a_link_inside_the_bundle_is_held_against_the_manifest(make_bundle: BundleMaker, engine: str) -> None:
    bundle = make_bundle()
    path = bundle.path / "onnx/forward.fp32.onnx"
    named = {"path": str(path), "detour": f"{bundle.path}/onnx/../onnx/forward.fp32.onnx"}.get(engine, engine)
    (bundle.path / "hidden").write_bytes(Linear.random(thermal(8), seed=5).forward())
    path.unlink()
    path.symlink_to(bundle.path / "hidden")
    with pytest.raises(BundleError, match="was changed or truncated"):
        Embedder.load(bundle.path, named)


def test_what_was_read_is_what_runs(make_bundle: BundleMaker) -> None:
    bundle = make_bundle(precisions=ALL, verdicts={"fp16": "pass"})
    file = read_engine(bundle, choose_engine(bundle, "auto"))
    file.path.write_bytes(Linear.random(thermal(8), seed=5).forward("fp16"))
    runner = open_runner(file, bundle.modality.input)
    assert (runner.sha256, runner.precision) == (sha256_bytes(THERMAL.forward("fp16")), "fp16")
    np.testing.assert_allclose(runner(sample(3)), THERMAL.embed(sample(3)), atol=0.01)


OPENED = """
import collections, sys
from advcal_edge.runtime import Embedder
opened = collections.Counter()
sys.addaudithook(lambda event, args: opened.update([str(args[0])]) if event == "open" else None)
Embedder.load(sys.argv[1])
for path, times in sorted(opened.items()):
    if path.startswith(sys.argv[1]):
        print(path.removeprefix(sys.argv[1] + "/"), times)
"""


def test_only_the_engine_that_runs_is_read_and_only_once(make_bundle: BundleMaker) -> None:
    verdicts = {"fp32": "pass", "fp16": "pass", "int8": "fail"}
    bundle = make_bundle(precisions=ALL, verdicts=verdicts)
    command = [sys.executable, "-c", OPENED, str(bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    opened = dict(line.split() for line in done.stdout.splitlines())
    assert {name: times for name, times in opened.items() if name.startswith("onnx/")} == {
        "onnx/forward.fp16.onnx": "1"
    }


def replaced(bundle: Bundle, graph: bytes) -> Path:
    return bundle.add({"onnx/forward.fp32.onnx": graph}).path


def test_engine_of_another_encoder(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    with pytest.raises(EngineError, match="expected `x` float32"):
        Embedder.load(replaced(bundle, Linear.random(image(8)).forward()))


def test_centers_of_another_encoder(make_bundle: BundleMaker) -> None:
    centers = make_centers()
    cut = centers.vectors[:, :3] / np.linalg.norm(centers.vectors[:, :3], axis=1, keepdims=True)
    other = type(centers)(centers.labels, cut, centers.temperature, centers.source)
    path = make_bundle().add({"centers.safetensors": other.to_bytes()}).path
    with pytest.raises(EngineError, match=r"embeds to 6 numbers; the centers .* have 3"):
        Embedder.load(path)


@pytest.mark.parametrize(("scale", "complaint"), [(10.0, "norm 10; expected unit norm"), (np.nan, "NaN or infinite")])
def test_output_that_is_no_embedding(make_bundle: BundleMaker, scale: float, complaint: str) -> None:
    path = replaced(make_bundle(), THERMAL.forward(scale=scale))
    with pytest.raises(EngineError, match=complaint):
        Embedder.load(path)


def test_overflow_is_never_handed_on(make_bundle: BundleMaker) -> None:
    embedder = Embedder.load(make_bundle().path)
    with pytest.raises(EngineError, match="for 1 of 2 inputs"):
        embedder(np.stack([sample(1)[0], np.zeros((1, 8, 8), np.float32)]))  # 0 / |0|


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle"):
        Embedder.load(tmp_path / "nothing")


def test_manifest_that_leaves_the_bundle(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    files = {**bundle.manifest["files"], "../outside.onnx": {"sha256": "0" * 64}}
    (bundle.path / MANIFEST).write_text(json.dumps({**bundle.manifest, "files": files}))
    with pytest.raises(BundleError, match="leaves the bundle"):
        Embedder.load(bundle.path, "../outside.onnx")


HEAVY = """
import sys
import advcal_edge.runtime
backends = {f"advcal_edge.runtime.backends.{name}" for name in ("cuda", "device_array", "onnx", "tensorrt", "trt_api")}
later = {"onnxruntime", "cv2", "importlib.metadata", *backends}
assert not later & sys.modules.keys()
import numpy as np
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.latency import measure
embedder = Embedder.load(sys.argv[1])
assert "cv2" in sys.modules  # or else the first frame would wait for it
assert embedder.embed_frames([np.arange(29000, 29100, dtype=np.uint16).reshape(10, 10)]).shape[0] == 1
embedder.classify(np.full((2, *embedder.spec.shape), 0.5, np.float32))
print(sorted({"torch", "onnx", "typer", "onnxscript"} & sys.modules.keys()))
"""


def test_loads_nothing_heavy(make_bundle: BundleMaker) -> None:
    command = [sys.executable, "-W", "error", "-c", HEAVY, str(make_bundle().path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize("name", ["bf16", "fp8"])
def test_precisions_that_no_export_writes_unasked(name: str, make_bundle: BundleMaker) -> None:
    path = make_bundle().path
    with pytest.raises(EngineError, match=rf"no graph `onnx/forward\.{name}\.onnx`") as caught:
        Embedder.load(path, name)
    assert f"advcal-edge export {path} --precision {name}" in str(caught.value.hint)
