"""Running plans: against plain arithmetic on the stand-in, and the words for what does not belong here."""

from __future__ import annotations

import ctypes
import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from foreign import Surgeon, cast
from host_trt import ALL, NAME, VERSION, HostGpu, host_gpu, write_plan
from numpy.typing import NDArray
from tiny import DIM, Linear

from advcal_edge.errors import DependencyError, EngineError, InputError
from advcal_edge.export.tensorrt.build import find_device
from advcal_edge.runtime.backends.cuda import Cuda
from advcal_edge.runtime.backends.device_array import DeviceArray, find_device_array, read_capsule
from advcal_edge.runtime.backends.tensorrt import TensorRTBackend
from advcal_edge.runtime.backends.trt_api import Product, find_product, integers
from advcal_edge.runtime.interface import Interface
from advcal_edge.runtime.metadata import Device, EngineMetadata, metadata_path, read_metadata
from advcal_edge.runtime.model import Runner, Vjp, open_runner
from advcal_edge.spec import thermal

RTOL = 1e-5


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostGpu]:
    with host_gpu(monkeypatch) as found:
        yield found


@pytest.fixture
def linear() -> Linear:
    return Linear.random(thermal(8))


def draw(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((n, 1, 8, 8), dtype=np.float32)


class OnDevice:
    """An array as cupy, pycuda or torch hand it over."""

    def __init__(
        self, gpu: HostGpu, x: NDArray[np.float32], stream: int | None = None, offset: int = 0, version: int = 3
    ) -> None:
        (self.address,) = gpu.cudaMalloc(x.nbytes + offset)[1]
        self.address += offset
        ctypes.memmove(self.address, np.ascontiguousarray(x).ctypes.data, x.nbytes)
        self.__cuda_array_interface__ = {
            "shape": x.shape,
            "typestr": x.dtype.str,
            "data": (self.address, False),
            "version": version,
            "strides": None,
            "stream": stream,
        }


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("n", [0, 1, 3, 8, 9, 21])
def test_any_batch_like_the_arithmetic(gpu: HostGpu, linear: Linear, tmp_path: Path, n: int, cuda_graph: bool) -> None:
    runner = Runner(
        TensorRTBackend(write_plan(tmp_path / "f.plan", linear.forward()), cuda_graph=cuda_graph), linear.modality.input
    )
    for seed in range(3):  # the second round replays what the first recorded
        x = draw(n, seed)
        z = runner(x)
        assert (z.shape, z.dtype) == ((n, DIM), np.float32)
        np.testing.assert_allclose(z, linear.embed(x), rtol=RTOL, atol=1e-6)
    assert bool(gpu.launches) == (cuda_graph and n > 0)


def test_a_profile_that_begins_above_one_is_filled_up(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    path = write_plan(tmp_path / "f.plan", linear.forward(), (4, 4, 8))
    x = draw(9)
    np.testing.assert_allclose(
        Runner(TensorRTBackend(path), linear.modality.input)(x), linear.embed(x), rtol=RTOL, atol=1e-6
    )


def test_arrays_are_the_callers_own_unless_reused(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    path = write_plan(tmp_path / "f.plan", linear.forward())
    fresh, shared = (Runner(TensorRTBackend(path, reuse=reuse), linear.modality.input) for reuse in (False, True))
    first, second = draw(2, 1), draw(2, 2)
    kept = fresh(first)
    fresh(second)
    np.testing.assert_allclose(kept, linear.embed(first), rtol=RTOL, atol=1e-6)
    view = shared(first)
    shared(second)
    np.testing.assert_allclose(view, linear.embed(second), rtol=RTOL, atol=1e-6)


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("offset", [0, 4])
@pytest.mark.parametrize("n", [2, 11])
def test_reads_what_lies_on_the_device(
    gpu: HostGpu, linear: Linear, tmp_path: Path, n: int, offset: int, cuda_graph: bool
) -> None:
    path = write_plan(tmp_path / "f.plan", linear.forward())
    runner = Runner(TensorRTBackend(path, cuda_graph=cuda_graph), linear.modality.input)
    x = draw(n)
    held = OnDevice(gpu, x, stream=1)
    gpu.addresses[held.address] = x.nbytes
    shifted = OnDevice(gpu, x, offset=offset)
    for array in (held, shifted):
        np.testing.assert_allclose(runner(array), linear.embed(x), rtol=RTOL, atol=1e-6)
    assert 1 in gpu.waited  # the stream on which the array was made
    np.testing.assert_allclose(runner(x), linear.embed(x), rtol=RTOL, atol=1e-6)  # and back to its own buffers


def test_a_maker_that_names_no_stream_is_waited_for(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    runner = Runner(TensorRTBackend(write_plan(tmp_path / "f.plan", linear.forward())), linear.modality.input)
    runner(OnDevice(gpu, draw(2)))
    assert ALL not in gpu.waited  # version 3 with no stream: nothing to wait for
    runner(OnDevice(gpu, draw(2), version=2))
    assert ALL in gpu.waited


def test_every_run_is_on_the_device_of_the_plan(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    runner = Runner(TensorRTBackend(write_plan(tmp_path / "f.plan", linear.forward())), linear.modality.input)
    gpu.current = 1  # as another library of this thread may leave it
    runner(draw(2))
    assert gpu.current == 0


@pytest.mark.parametrize("told", [False, True])
def test_a_plan_that_carries_code_takes_consent(gpu: HostGpu, linear: Linear, tmp_path: Path, told: bool) -> None:
    """Whatever its card says: what decides is the plan itself, and who opens it."""
    path = write_plan(tmp_path / "f.plan", linear.forward(), code="rm", version_compatible=told)
    with pytest.raises(EngineError, match="carries code") as caught:
        Runner(TensorRTBackend(path), linear.modality.input)
    assert "--allow-plan-code" in str(caught.value.hint)
    assert gpu.executed == []
    metadata_path(path).unlink()
    with pytest.raises(EngineError, match="carries code"):
        Runner(TensorRTBackend(path), linear.modality.input)
    assert Runner(TensorRTBackend(path, allow_plan_code=True), linear.modality.input)(draw(1)).shape == (1, DIM)
    assert gpu.executed == ["rm"]


def test_a_card_alone_allows_no_code(
    gpu: HostGpu, linear: Linear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan without code opens without consent, even where its card says it carries some; none is allowed for it."""
    path = write_plan(tmp_path / "f.plan", linear.forward(), version_compatible=True)
    monkeypatch.setenv("ADVCAL_ALLOW_HOST_CODE", "1")
    for consent in (False, True):
        runner = Runner(TensorRTBackend(path, allow_plan_code=consent), linear.modality.input)
        assert runner(draw(1)).shape == (1, DIM)
        assert runner.backend._runtime.engine_host_code_allowed is False
    evil = write_plan(tmp_path / "g.plan", linear.forward(), code="rm")
    with pytest.raises(EngineError, match="carries code"):
        Runner(TensorRTBackend(evil), linear.modality.input)


def test_refuses_device_arrays_it_would_have_to_cast(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    runner = Runner(TensorRTBackend(write_plan(tmp_path / "f.plan", linear.forward())), linear.modality.input)
    with pytest.raises(InputError, match="expected float32"):
        runner(OnDevice(gpu, draw(2).astype(np.float64)))
    with pytest.raises(InputError, match="on the device; expected"):
        runner(OnDevice(gpu, draw(2)[:, :, :4]))
    with pytest.raises(InputError, match="`x` is float64"):
        runner(draw(2).astype(np.float64))


def test_capsules_of_dlpack_are_read(linear: Linear) -> None:
    x = draw(3)
    held = read_capsule(x.__dlpack__())
    assert (held.address, held.shape) == (x.ctypes.data, x.shape)
    with pytest.raises(InputError, match="another type"):
        read_capsule(x.astype(np.float64).__dlpack__())
    with pytest.raises(InputError, match="contiguous"):
        read_capsule(x.transpose(0, 1, 3, 2)[:, :, ::2].__dlpack__())


def test_dlpack_comes_before_the_interface_since_it_waits() -> None:
    x = draw(2)
    asked: dict[str, Any] = {}

    def capsule(stream: int) -> Any:
        asked["stream"] = stream
        return x.__dlpack__()

    cuda = SimpleNamespace(__dlpack_device__=lambda: (2, 0), __dlpack__=capsule, __cuda_array_interface__={})
    held = find_device_array(cuda, stream=5)
    assert isinstance(held, DeviceArray)
    assert (held.address, asked) == (x.ctypes.data, {"stream": 5})
    assert find_device_array(x, stream=5) is None
    with pytest.raises(InputError, match="lies on CUDA device 1; expected device 0"):
        find_device_array(SimpleNamespace(__dlpack_device__=lambda: (2, 1)), stream=5)

    def watched(stream: int) -> Any:
        raise BufferError("Can't export tensors that require gradient")

    with pytest.raises(InputError, match="require gradient"):
        find_device_array(SimpleNamespace(__dlpack_device__=lambda: (2, 0), __dlpack__=watched), stream=5)


def test_torch_tensors_of_the_host_are_refused_in_words(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    runner = Runner(TensorRTBackend(write_plan(tmp_path / "f.plan", linear.forward())), linear.modality.input)
    with pytest.raises(InputError, match="`x` is a Tensor"):
        runner(torch.zeros(2, 1, 8, 8))
    x = torch.rand(2, 1, 8, 8)
    assert read_capsule(x.__dlpack__()).address == x.data_ptr()


def test_gradient_is_that_of_the_graph(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    vjp = Vjp(TensorRTBackend(write_plan(tmp_path / "v.plan", linear.vjp(), kind="vjp")), linear.modality.input)
    x, v = draw(11), np.random.default_rng(3).standard_normal((11, DIM), dtype=np.float32)
    y = x.reshape(11, -1).astype(np.float64) @ linear.weights
    length = np.linalg.norm(y, axis=1, keepdims=True)
    z = y / length
    want = ((v - z * (z * v).sum(1, keepdims=True)) / length @ linear.weights.T).reshape(x.shape)
    np.testing.assert_allclose(vjp.pull(x, v), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(vjp.embed(x), z, rtol=RTOL, atol=1e-6)
    assert vjp.pull(x[:0], v[:0]).shape == (0, 1, 8, 8)
    with pytest.raises(InputError, match="one vector per input"):
        vjp.pull(x, v[:2])


def test_threads_take_turns(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    runner = Runner(TensorRTBackend(write_plan(tmp_path / "f.plan", linear.forward())), linear.modality.input)
    found: dict[int, NDArray[np.float32]] = {}

    def embed(seed: int) -> None:
        found[seed] = runner(draw(5, seed))

    threads = [Thread(target=embed, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, z in found.items():
        np.testing.assert_allclose(z, linear.embed(draw(5, seed)), rtol=RTOL, atol=1e-6)


def test_memory_is_given_back(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    path = write_plan(tmp_path / "f.plan", linear.forward())
    runner = Runner(TensorRTBackend(path, cuda_graph=True), linear.modality.input)
    runner(draw(2))
    assert gpu.addresses
    assert gpu.graphs
    del runner
    gc.collect()
    assert not gpu.addresses
    assert not gpu.graphs


def test_says_that_memory_ran_out(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    path = write_plan(tmp_path / "f.plan", linear.forward())
    gpu.memory = 1000
    with pytest.raises(EngineError, match="out of memory") as caught:
        Runner(TensorRTBackend(path), linear.modality.input)
    assert "--batch" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": (10, 13, 3, 9)}, r"built by TensorRT 10\.13\.3\.9; this machine has TensorRT 10\.3\.0"),
        (
            {"device": Device("NVIDIA H100", (9, 0))},
            r"built on NVIDIA H100 \(compute capability 9\.0\); this is Host Orin",
        ),
        ({"product": "tensorrt_rtx", "version": (1, 7)}, "TensorRT-RTX"),
        ({"sha256": "0" * 64}, "not the plan that `f.json` describes"),
    ],
)
def test_refused_in_words_before_it_is_opened(
    gpu: HostGpu, linear: Linear, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = write_plan(tmp_path / "f.plan", linear.forward(), **changes)
    path.with_suffix(".plan").write_bytes(path.read_bytes())
    product = find_product("tensorrt")  # a card of another product would ask for that one
    product.module.Runtime = None  # opening it would fail
    with pytest.raises(EngineError, match=words) as caught:
        Runner(TensorRTBackend(path, product=product), linear.modality.input)
    assert "`advcal-edge export BUNDLE --trt`" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"version": (10, 2, 9), "version_compatible": True}, True),
        ({"version": (10, 4), "version_compatible": True}, False),
        ({"device": Device("other", (8, 7)), "hardware": "same-capability"}, True),
        ({"device": Device("other", (8, 6)), "hardware": "same-capability"}, False),
        ({"device": Device("other", (8, 0)), "hardware": "ampere+"}, True),
        ({"device": None}, True),
    ],
)
def test_what_moves(gpu: HostGpu, linear: Linear, tmp_path: Path, changes: dict[str, Any], fits: bool) -> None:
    card = read_metadata(write_plan(tmp_path / "f.plan", linear.forward(), **changes))
    assert card is not None
    assert (card.misfit(find_product("tensorrt"), Device(NAME, (8, 7))) is None) == fits


@pytest.mark.parametrize(
    ("targets", "capability", "fits"),
    [((), (8, 6), True), ((), (7, 5), False), (((8, 9),), (8, 9), True), (((8, 9),), (8, 6), False)],
)
def test_plans_of_rtx_go_by_capability(
    gpu: HostGpu, linear: Linear, tmp_path: Path, targets: Any, capability: Any, fits: bool
) -> None:
    path = write_plan(tmp_path / "f.plan", linear.forward(), product="tensorrt_rtx", version=(1, 7), targets=targets)
    card = read_metadata(path)
    assert card is not None
    rtx = Product("tensorrt_rtx", None, (1, 7))
    assert (card.misfit(rtx, Device("RTX", capability)) is None) == fits


def test_cards_survive_json(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    card = read_metadata(write_plan(tmp_path / "f.plan", linear.forward()))
    assert card is not None
    full = replace(card, targets=((8, 6),), profiles={"x": ((1, 2), (4, 2), (8, 2))}, flags=("STRICT_NANS",))
    assert EngineMetadata.from_json(json.loads(json.dumps(full.to_json()))) == full


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "advcal-edge/plan/1"}', "null", '{"schema": "x"}'])
def test_damaged_cards_are_refused(gpu: HostGpu, linear: Linear, tmp_path: Path, text: str) -> None:
    path = write_plan(tmp_path / "f.plan", linear.forward())
    metadata_path(path).write_text(text)
    with pytest.raises(EngineError, match="no description of a plan"):
        Runner(TensorRTBackend(path), linear.modality.input)


NULLS = (
    "sha256",
    "bytes",
    "version",
    "profiles",
    "targets",
    "flags",
    "product",
    "layers",
    "unfused",
    "seconds",
    "kind",
)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in NULLS),
        {"product": "windows"},
        {"version": ["10"]},
        {"version": [None]},
        {"bytes": -1},
        {"seconds": float("nan")},
        {"seconds": "1"},
        {"memory": 2**70},
        {"device": {"name": "x"}},
        {"device": {"name": "x", "capability": [8]}},
        {"device": []},
        {"targets": [None]},
        {"profiles": {"x": None}},
        {"layers": {"a": None}},
        {"step": 3},
        {"sha256": "x" * (5 * 2**20)},
    ],
)
def test_cards_of_wrong_values_are_refused(
    gpu: HostGpu, linear: Linear, tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = write_plan(tmp_path / "f.plan", linear.forward())
    told = json.loads(metadata_path(path).read_text())
    metadata_path(path).write_text(json.dumps({**told, **changes}))
    with pytest.raises(EngineError, match="no description of a plan") as caught:
        read_metadata(path)
    assert caught.value.hint


def test_a_plan_without_a_card_is_tried(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    path = write_plan(tmp_path / "f.engine", linear.forward())
    metadata_path(path).unlink()
    runner = Runner(TensorRTBackend(path), linear.modality.input)
    assert runner.precision == "custom"
    path.write_bytes(b"no plan")
    with pytest.raises(EngineError, match=r"cannot load the plan .* magicTag failed"):
        Runner(TensorRTBackend(path), linear.modality.input)


def test_another_shape_is_a_misfit(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    forward = write_plan(tmp_path / "f.plan", linear.forward())
    backward = write_plan(tmp_path / "v.plan", linear.vjp(), kind="vjp")
    for wrong in (
        lambda: Runner(TensorRTBackend(forward), thermal(16).input),
        lambda: Runner(TensorRTBackend(backward), thermal(8).input),
    ):
        with pytest.raises(EngineError, match="expected `x`"):
            wrong()
    with pytest.raises(EngineError, match="`v` float32"):
        Vjp(TensorRTBackend(forward), thermal(8).input)


@pytest.mark.parametrize("kind", ["float16", "uint8"])
@pytest.mark.parametrize("size", ["n", 4])
def test_a_plan_of_others_is_bridged(gpu: HostGpu, linear: Linear, tmp_path: Path, kind: str, size: int | str) -> None:
    """On the stand-in: buffers of half precision and of bytes, names of its own, a fixed batch."""
    surgeon = Surgeon(linear.forward())
    if kind == "uint8":
        surgeon.give("Div", np.array(255, np.float32))
    surgeon.give("Cast", to=cast("float32")).take("Cast", to=cast("float16"))
    graph = surgeon.close(("images", kind, (size, 1, 8, 8)), ("embeds", "float16", (size, DIM)))
    path = write_plan(tmp_path / "f.engine", graph, (4, 4, 4) if size == 4 else (1, 4, 8))
    metadata_path(path).unlink()
    runner = open_runner(path, linear.modality.input, None, Interface(scale=255 if kind == "uint8" else 1))
    assert runner.backend.bridged[0] == "input `images` for `x`"
    assert ("fixed batch 4, smaller ones padded" in runner.backend.bridged) is (size == 4)
    for n in (1, 3, 9):
        x = np.rint(draw(n) * 255).astype(np.float32) / np.float32(255)
        np.testing.assert_allclose(runner(x), linear.embed(x), atol=2e-3)


def test_fingerprint_says_what_runs_where(gpu: HostGpu, linear: Linear, tmp_path: Path) -> None:
    runner = Runner(TensorRTBackend(write_plan(tmp_path / "f.plan", linear.forward())), linear.modality.input)
    assert runner.fingerprint == f"TensorRT 10.3.0 {NAME} sha256:{runner.sha256[:12]}"
    assert runner.precision == "fp16"


@pytest.mark.parametrize("version", ["10.2.0", "8.6.1", "12.0.0"])
def test_versions_nobody_looked_at_are_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", SimpleNamespace(__version__=version))
    with pytest.raises(EngineError, match=r"expected TensorRT 10\.3 to 11"):
        find_product("tensorrt")


def test_versions_compare_as_numbers() -> None:
    assert integers("10.13.3.9.post1")[:3] == (10, 13, 3)
    assert integers("10.9.0.34") < integers("10.13.0.35")
    assert integers("11.4.0.106") > VERSION


def test_without_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(DependencyError, match="TensorRT needs the package `tensorrt`") as caught:
        find_product("tensorrt")
    assert "advcal-edge[trt]" in str(caught.value.hint)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(DependencyError) as caught:
        find_product("tensorrt")
    assert "JetPack brings it" in str(caught.value.hint)


@pytest.mark.skipif(find_device() is not None, reason="this machine has a CUDA device")
def test_a_machine_without_a_device_says_so() -> None:
    with pytest.raises((EngineError, DependencyError), match=r"no CUDA device can be used here|cuda-python"):
        Cuda()
