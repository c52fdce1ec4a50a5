"""Forward and backward graphs in ONNX Runtime: right numbers, refused graphs, refused arrays."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import helper
from tiny import DIM, Linear, encode

from advcal_edge import model
from advcal_edge.errors import DependencyError, EngineError, InputError
from advcal_edge.runtime.backends.onnx import OnnxBackend
from advcal_edge.runtime.engine_file import graph_digest
from advcal_edge.runtime.model import EngineGradient, Runner, Vjp, open_vjp
from advcal_edge.spec import TensorSpec, image, thermal
from advcal_edge.storage import sha256_bytes


def sample(linear: Linear, n: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).random((n, *linear.modality.input.shape), dtype=np.float32)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def runner(linear: Linear, tmp_path: Path) -> Runner:
    return Runner(OnnxBackend(write(tmp_path / "f.onnx", linear.forward()), largest=4), linear.modality.input)


@pytest.fixture
def gradient(linear: Linear, runner: Runner, tmp_path: Path) -> EngineGradient:
    backward = Vjp(
        OnnxBackend(write(tmp_path / "v.onnx", linear.vjp()), largest=4, optimization="basic"), linear.modality.input
    )
    return EngineGradient(runner, backward)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 9])
def test_embeds_any_batch_like_the_arithmetic(linear: Linear, runner: Runner, n: int) -> None:
    x = sample(linear, n)
    z = runner(x)
    assert z.shape == (n, DIM)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, linear.embed(x), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(0, 20), chunk=st.integers(1, 25), seed=st.integers(0, 99))
def test_chunks_do_not_show(tmp_path_factory: pytest.TempPathFactory, n: int, chunk: int, seed: int) -> None:
    linear = Linear.random(thermal(4))
    path = write(tmp_path_factory.getbasetemp() / "chunks.onnx", linear.forward())
    x = sample(linear, n, seed)
    whole, parts = (Runner(OnnxBackend(path, largest=c), linear.modality.input)(x) for c in (100, chunk))
    np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_arrays_are_the_callers_own(linear: Linear, runner: Runner) -> None:
    x = sample(linear, 2)
    first = runner(x)
    kept = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(runner(x), kept)


def test_takes_views(linear: Linear, runner: Runner) -> None:
    x = sample(linear, 6)
    np.testing.assert_array_equal(runner(x[::-2]), runner(np.ascontiguousarray(x[::-2])))


def test_says_what_runs(linear: Linear, tmp_path: Path) -> None:
    data = linear.forward()
    runner = Runner(
        OnnxBackend(write(tmp_path / "f.onnx", data), optimization="basic", threads=1), linear.modality.input
    )
    assert runner.sha256 == sha256_bytes(data)
    assert "CPUExecutionProvider basic" in runner.fingerprint
    assert runner.sha256[:12] in runner.fingerprint
    assert runner.spec is linear.modality.input


def test_fits_the_protocols(gradient: EngineGradient) -> None:
    as_runner: model.Runner = gradient.runner
    as_gradient: model.Gradient = gradient
    assert as_runner.spec is gradient.runner.spec
    assert as_gradient is gradient


@pytest.mark.parametrize("n", [0, 1, 9])
def test_pullback_is_the_gradient(linear: Linear, gradient: EngineGradient, n: int) -> None:
    x, v = sample(linear, n), np.random.default_rng(1).standard_normal((n, DIM)).astype(np.float32)
    z, pull = gradient.vjp(x)
    g = pull(v)
    assert g.shape == x.shape
    np.testing.assert_array_equal(z, gradient.runner(x))
    direction = np.random.default_rng(2).standard_normal(x.shape)
    step = 1e-5
    change = (linear.embed(x + step * direction) - linear.embed(x - step * direction)) / (2 * step)
    slope = (g * direction).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(slope, (change * v).sum(axis=1), atol=1e-4)


def test_forward_judges_and_backward_only_guides(linear: Linear, gradient: EngineGradient, tmp_path: Path) -> None:
    int8 = Runner(OnnxBackend(write(tmp_path / "i.onnx", linear.forward("int8"))), linear.modality.input)
    x = sample(linear, 2)
    z, _ = EngineGradient(int8, gradient.backward).vjp(x)
    np.testing.assert_array_equal(z, int8(x))
    assert not np.array_equal(z, gradient.runner(x))


def test_refuses_arrays_it_would_have_to_cast(linear: Linear, gradient: EngineGradient) -> None:
    x, v = sample(linear, 2), np.zeros((2, DIM), np.float32)
    refused: list[Any] = [x.astype(np.float64), x.astype(np.uint8), x[0], x[:, :, 1:], x.tolist()]
    for bad in refused:
        with pytest.raises(InputError, match="expected float32"):
            gradient.runner(bad)
        with pytest.raises(InputError, match="expected float32"):
            gradient.backward.pull(bad, v)
    with pytest.raises(InputError, match="expected float32"):
        gradient.backward.pull(x, v[:, 1:])
    with pytest.raises(InputError, match="one vector per input"):
        gradient.backward.pull(x, v[:1])


@pytest.mark.parametrize("cut", [0, 1, 100, -40])
def test_truncated_graph(linear: Linear, tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "f.onnx", linear.forward()[:cut])
    with pytest.raises(EngineError, match="is no ONNX graph"):
        Runner(OnnxBackend(path), linear.modality.input)


def test_unreadable_graph(linear: Linear, tmp_path: Path) -> None:
    for path, complaint in ((tmp_path / "missing.onnx", "cannot read .*No such file"), (tmp_path, "is a folder")):
        with pytest.raises(EngineError, match=complaint):
            Runner(OnnxBackend(path), linear.modality.input)


def test_graph_of_another_kind(linear: Linear, tmp_path: Path) -> None:
    spec = linear.modality.input
    forward, vjp = write(tmp_path / "f.onnx", linear.forward()), write(tmp_path / "v.onnx", linear.vjp())
    fixed = write(tmp_path / "fixed.onnx", linear.forward(shape=(1, *spec.shape)))
    identity = helper.make_node("Identity", ["x"], ["z"])
    wide = write(tmp_path / "wide.onnx", encode([identity], {"x": ("n", 3)}, {"z": ("n", "d")}, {}, "fp32"))
    for path, other in ((vjp, spec), (fixed, spec), (forward, image(9).input), (wide, spec)):
        with pytest.raises(EngineError, match="expected `x` float32") as caught:
            Runner(OnnxBackend(path), other)
        assert caught.value.hint
    for path, other in ((forward, spec), (vjp, image(9).input)):
        with pytest.raises(EngineError, match="`v` float32"):
            open_vjp(path, other)


def test_graph_with_a_frozen_batch_inside(tmp_path: Path) -> None:
    nodes = [helper.make_node("Slice", ["x", "zero", "one", "zero"], ["z"])]
    constants = {"zero": np.array([0], np.int64), "one": np.array([1], np.int64)}
    path = write(tmp_path / "frozen.onnx", encode(nodes, {"x": ("n", 3)}, {"z": ("n", 3)}, constants, "fp32"))
    runner = Runner(OnnxBackend(path), TensorSpec("x", (3,), "float32", "c", (0.0, 1.0), ""))
    assert runner(np.zeros((1, 3), np.float32)).shape == (1, 3)
    with pytest.raises(EngineError, match="for a batch of 2"):
        runner(np.zeros((2, 3), np.float32))


def test_graph_that_fails_while_running(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["z"])]
    constants = {"shape": np.array([1, 3], np.int64)}
    path = write(tmp_path / "reshape.onnx", encode(nodes, {"x": ("n", 3)}, {"z": ("n", 3)}, constants, "fp32"))
    runner = Runner(OnnxBackend(path), TensorSpec("x", (3,), "float32", "c", (0.0, 1.0), ""))
    with pytest.raises(EngineError, match=r"failed on x \(2, 3\)"):
        runner(np.zeros((2, 3), np.float32))


def test_never_runs_elsewhere_than_asked(linear: Linear, tmp_path: Path) -> None:
    path = write(tmp_path / "f.onnx", linear.forward())
    for providers in (("CUDAExecutionProvider",), ("NoSuchProvider", "CPUExecutionProvider"), ()):
        with pytest.raises(EngineError, match="not available"):
            Runner(OnnxBackend(path, providers=providers), linear.modality.input)


def test_weights_in_a_file_of_their_own(linear: Linear, tmp_path: Path) -> None:
    path, x = tmp_path / "big.onnx", sample(linear, 3)
    model = onnx.load_from_string(linear.forward())
    onnx.save_model(model, str(path), save_as_external_data=True, location="big.onnx.data", size_threshold=64)
    runner = Runner(OnnxBackend(path), linear.modality.input)
    np.testing.assert_allclose(runner(x), linear.embed(x), atol=1e-5)
    assert runner.sha256 == graph_digest(path)
    data = path.with_name("big.onnx.data")
    data.write_bytes(data.read_bytes()[::-1])
    assert graph_digest(path) != runner.sha256


def test_without_onnxruntime(linear: Linear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "f.onnx", linear.forward())
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DependencyError, match="`onnxruntime`") as caught:
        Runner(OnnxBackend(path), linear.modality.input)
    assert caught.value.hint == "pip install 'advcal-edge[cpu]'"


@pytest.mark.parametrize("told", ["\x1b[2Jfp32", "fp32\0", "a" * 65, ""])
def test_a_label_that_no_export_writes_is_not_taken_for_a_name(told: str, linear: Linear, tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(linear.forward(told))
    runner = Runner(OnnxBackend(tmp_path / "g.onnx"), linear.modality.input)
    assert runner.precision == "custom"


@pytest.mark.parametrize(
    ("environment", "asked", "threads"),
    [
        ("3", None, 3),
        ("2,4", None, 2),
        ("3", 1, 1),
        ("", None, 0),
        ("many", None, 0),
        ("0", None, 0),
        ("99999", None, 0),
    ],
)
def test_threads_are_those_asked_for_else_those_of_the_environment(
    linear: Linear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str, asked: int | None, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", environment)
    backend = OnnxBackend(write(tmp_path / "f.onnx", linear.forward()), threads=asked)
    assert backend.session.get_session_options().intra_op_num_threads == threads  # 0: ONNX Runtime's own choice
