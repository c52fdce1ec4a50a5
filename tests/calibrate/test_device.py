"""Where a calibration computes: the device, its memory, and what makes it faster or smaller."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_encoder import DIM, ConfigMaker, Small, make_frames
from torch import nn

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate import compute as compute_module
from advcal_edge.calibrate.acceleration import Accelerated, accelerate, blocks_of
from advcal_edge.calibrate.adapters import AdaptedModule, attach_adapter, trainable
from advcal_edge.calibrate.compute import CPU, choose_device, computing, idle_cores, ordered
from advcal_edge.calibrate.config import AdapterConfig, TrainConfig
from advcal_edge.calibrate.data.inputs import Kept, stream
from advcal_edge.calibrate.memory import GIB, Memory, check_memory, estimate_memory
from advcal_edge.calibrate.processes import Processes
from advcal_edge.calibrate.run import calibrate
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.encoders.base import open_encoder
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import thermal

HERE = Path(__file__).parent
X = torch.from_numpy(preprocess(thermal(8), make_frames(12, seed=5)[0]))
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def adapter_bytes(bundle: Bundle) -> bytes:
    return bundle.file("adapter.safetensors").read_bytes()


def bindlite(kind: str = "stem-filter+lora-xs+norms") -> AdaptedModule:
    encoder = open_encoder("bindlite", "thermal", None)
    return attach_adapter(encoder.module(), AdapterConfig(kind), encoder.embedding_dim, seed=0)


def on_board(*arguments: str) -> Any:
    """What work on a device whose tensors mix with no others prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "on_board.py"), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_all_of_a_calibration_is_on_its_device(tmp_path: Path) -> None:
    assert max(on_board("calibrate", str(tmp_path))) < 1e-5, "both add in the same order, up to threads"


@pytest.mark.slow
def test_the_reference_of_a_verification_is_on_its_device(exported: Bundle, tmp_path: Path) -> None:
    found = on_board("verify", str(shutil.copytree(exported.path, tmp_path / "exported")))
    assert "board:0" in found["fingerprint"]


@NO_GPU
def test_devices_that_are_not_there(make_config: ConfigMaker) -> None:
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(ConfigError, match=r"`--device cuda` needs a GPU that torch can use") as caught:
        calibrate(make_config(device="cuda"))
    assert "nvidia-smi" in (caught.value.hint or "")
    for name in ("gpu", "cuda:", "cuda:-1", "cuda:1x", "", "CPU", "cuda:1234"):
        with pytest.raises(ConfigError, match="is no device; expected `auto`, `cpu`, `cuda` or `cuda:1`"):
            choose_device(name)


def test_gpus_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert choose_device("cuda:1") == choose_device("auto", Processes(3, 4, 1)) == torch.device("cuda", 1)
    assert choose_device("cuda", Processes(2, 4, 0)) == torch.device("cuda", 0)
    assert chosen == [torch.device("cuda", index) for index in (1, 1, 0)]
    with pytest.raises(ConfigError, match="asks for GPU 2; found 2, counted from 0"):
        choose_device("cuda:2")
    with pytest.raises(ConfigError, match="asks for GPU 3; found 2"):
        choose_device("cuda", Processes(3, 4, 3))
    with pytest.raises(ConfigError, match="puts all 4 processes on one GPU"):
        choose_device("cuda:1", Processes(0, 4, 0))


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(cores: int, make_config: ConfigMaker) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        found = adapter_bytes(calibrate(make_config(out=f"{make_config().out}-{cores}")).bundle)
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    assert found == adapter_bytes(calibrate(make_config()).bundle)


def test_streamed_inputs_give_the_bits_of_kept_ones(make_config: ConfigMaker) -> None:
    kept = adapter_bytes(calibrate(make_config()).bundle)
    assert adapter_bytes(calibrate(make_config(data={"memory": 0, "workers": 3})).bundle) == kept


def test_a_frame_that_is_lost_on_the_way_is_named(make_config: ConfigMaker) -> None:
    from advcal_edge.calibrate.run import Watch

    config = make_config(data={"memory": 0})

    def lose(stage: str, done: int, total: int) -> None:
        if stage == "calibrate" and done == 3:
            for path in Path(str(config.data.path)).glob("*/*.png"):
                path.unlink()

    with pytest.raises(InputError, match=r"cannot read `.*\.png`"):
        calibrate(config, Watch(lose))
    assert not Path(config.out).exists()


def test_pieces_come_in_order_and_errors_where_they_belong() -> None:
    def one(piece: int) -> int:
        if piece == 5:
            raise ValueError(piece)
        return piece * piece

    with computing(CPU, cores=3) as compute:
        assert list(compute.map(one, range(5))) == [0, 1, 4, 9, 16]
        found = compute.map(one, range(9))
        assert [next(found) for _ in range(5)] == [0, 1, 4, 9, 16]
        with pytest.raises(ValueError, match="5"):
            next(found)
        asked: list[int] = []
        assert compute.threads is not None
        few = ordered(compute.threads, one, (asked.append(n) or n for n in range(5)), 2)
        assert next(few) == 0
        assert len(asked) <= 3, "no more is read ahead than asked for"


def test_threads_leave_cores_that_others_want(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for text, idle in (
        ("0.1 0.2 0.3 1/200 77", 8),
        ("9.0 0 0 5/200 77", 4),
        ("9 9 9 30/200 77", 1),
        ("", 8),
        ("x x x x", 8),
    ):
        (tmp_path / "loadavg").write_text(text)
        assert idle_cores(tmp_path / "loadavg") == idle
    assert idle_cores(tmp_path / "none") == 8

    def name(piece: int) -> str:
        return threading.current_thread().name

    for idle, threads in ((1, {"MainThread"}), (2, {"piece_0", "piece_1"})):
        monkeypatch.setattr(compute_module, "idle_cores", lambda idle=idle: idle)
        with computing(CPU, cores=3) as compute:
            assert set(compute.map(name, range(50))) <= threads


def test_streams_from_memory_are_copies() -> None:
    inputs = Kept(X.clone())
    for x in stream(inputs, [torch.tensor([0, 1]), torch.tensor([1, 2])], CPU, 1):
        x.zero_()
    assert torch.equal(inputs.x, X)


def test_a_runner_in_chunks_is_the_same_function() -> None:
    module = AdaptedModule(Small.load("thermal").module())
    whole, chunked = TorchRunner(module, thermal(8).input), TorchRunner(module, thermal(8).input, chunk=5)
    v = torch.randn(12, DIM, generator=torch.Generator().manual_seed(0))
    for place in (torch.Tensor.numpy, torch.Tensor.clone):
        z, pullback = whole.vjp(place(X))
        other, again = chunked.vjp(place(X))
        assert type(z) is type(other)
        np.testing.assert_allclose(z, other, atol=1e-6)
        np.testing.assert_allclose(pullback(place(v)), again(place(v)), atol=1e-6)
        np.testing.assert_allclose(whole(place(X)), chunked(place(X)), atol=1e-6)
    assert chunked(X[:0].numpy()).shape == (0, DIM)


def test_checkpoints_of_blocks_change_no_gradient() -> None:
    x = torch.rand(2, *open_encoder("bindlite", "thermal", None).modality.input.shape)
    slopes = []
    for checkpointing in (False, True):
        model = bindlite()
        fast = accelerate(model, TrainConfig(checkpointing=checkpointing), CPU)
        leaf = x.clone().requires_grad_(True)
        z = fast(leaf)
        slopes.append(torch.autograd.grad((z * z.flip(0)).sum(), [leaf, *trainable(model).values()]))
    for plain, again in zip(*slopes, strict=True):
        torch.testing.assert_close(plain, again)


def test_a_module_without_blocks_has_nothing_to_checkpoint() -> None:
    assert len([*blocks_of(bindlite())]) == 4
    with pytest.raises(ConfigError, match="finds no blocks"):
        accelerate(AdaptedModule(Small.load("thermal").module()), TrainConfig(checkpointing=True), CPU)


def test_bfloat16_keeps_parameters_and_embeddings_in_float32() -> None:
    model = bindlite()
    x = torch.rand(3, *open_encoder("bindlite", "thermal", None).modality.input.shape)
    plain, fast = Accelerated(model, None), Accelerated(model, "cpu")
    z = fast(x)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(3))
    assert 0.98 < float((z * plain(x)).sum(-1).min().detach()) < 1 - 1e-7
    slopes = torch.autograd.grad(z.sum(), [*trainable(model).values()])
    assert {slope.dtype for slope in slopes} == {torch.float32}


@pytest.mark.parametrize("kind", ["identity", "lora-xs+norms"])
def test_the_estimate_of_memory_is_what_autograd_keeps(kind: str) -> None:
    model, shape = bindlite(kind), open_encoder("bindlite", "thermal", None).modality.input.shape
    own = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers())}
    memory = estimate_memory(model, shape)
    assert memory is not None
    for n in (1, 3):
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, torch.Tensor] = kept) -> torch.Tensor:
            return kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(torch.rand(n, *shape).requires_grad_(True))
        found = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)
        assert found == memory.of(n) - memory.weights
    smaller = estimate_memory(model, shape, checkpointed=True)
    assert smaller is not None
    assert smaller.sample < memory.sample / 2


def test_what_cannot_be_followed_has_no_estimate() -> None:
    class Counts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.detach().numpy().sum() > 0 else -x

    assert estimate_memory(Counts(), (3,)) is None


def test_parts_that_do_not_fit_are_refused_with_the_number_that_does() -> None:
    memory = Memory(weights=GIB, fixed=GIB // 2, sample=GIB // 4)
    check_memory(memory, 16, 4, 24 * GIB, checkpointed=False)
    with pytest.raises(ConfigError, match=r"a part of 64 samples needs about 33\.5 GiB; .* 24\.0 GiB free") as caught:
        check_memory(memory, 64, 1, 24 * GIB, checkpointed=False)
    assert caught.value.hint == "`--set train.parts=2` and `--set train.checkpointing=true`"
    most = memory.fits(24 * GIB) // 2
    assert memory.of(2 * most) <= 24 * GIB < memory.of(2 * 64)
    with pytest.raises(ConfigError) as caught:
        check_memory(memory, 1, 64, GIB, checkpointed=True)
    assert caught.value.hint == "free memory on the device, or take a larger one"


@pytest.mark.slow
def test_a_compiled_encoder_trains(make_config: ConfigMaker) -> None:
    config = make_config(train={"epochs": 1})
    plain = calibrate(config).table.after.accuracy("clean")
    compiled = calibrate(replace(config, train=replace(config.train, compile=True))).table.after.accuracy("clean")
    assert abs(plain - compiled) < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("autocast", [False, True])
def test_a_gpu_trains_what_the_processor_trains(autocast: bool, make_config: ConfigMaker) -> None:
    config = make_config(train={"autocast": autocast, "epochs": 8})
    tables = [calibrate(replace(config, device=device, out=f"{config.out}-{device}")) for device in ("cpu", "cuda")]
    one, other = (result.table.after.accuracy("pgd") for result in tables)
    assert abs(one - other) <= 0.1
    assert "board" not in str(tables[1].bundle.section("environment")["device"])
