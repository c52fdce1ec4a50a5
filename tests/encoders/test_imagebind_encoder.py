"""ImageBind as an encoder: what it says of itself, what it refuses, and what loading one trunk costs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_imagebind import PUBLISHED, random_input, random_model
from torch import Tensor
from torch.nn import functional as F

from advcal_edge.encoders.base import Encoder
from advcal_edge.encoders.imagebind import Imagebind
from advcal_edge.errors import ConfigError, InputError

LOGIT_SCALES = {"thermal": 10.0, "audio": 20.0, "depth": 5.0, "imu": 5.0}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """A checkpoint with every key of the published one, two towers at their true size."""
    return dict(random_model({tower: PUBLISHED[tower] for tower in ("depth", "imu")}, 1024).state_dict())


@pytest.fixture(scope="module")
def weights(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "imagebind_huge.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize("modality", ["depth", "imu"])
def test_an_encoder_tells_what_it_is(modality: str, weights: Path) -> None:
    encoder: Encoder = Imagebind.load(modality, weights)
    assert encoder.modality.name == modality
    assert encoder.license == "CC-BY-NC-SA-4.0"
    assert encoder.metadata == {"logit_scale": pytest.approx(LOGIT_SCALES[modality])}
    assert encoder.centers() is None
    module = encoder.module()
    assert not module.training
    assert {(p.dtype, p.device.type, p.requires_grad) for p in module.parameters()} == {(torch.float32, "cpu", False)}
    z = module(torch.zeros(3, *encoder.modality.input.shape))
    assert z.shape == (3, encoder.embedding_dim)


def test_depth_is_disparity_as_a_share_of_75_pixels(weights: Path, state: dict[str, Tensor]) -> None:
    encoder = Imagebind.load("depth", weights)
    disparity = 75 * torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    upstream = random_model({"depth": PUBLISHED["depth"]}, 1024)
    upstream.load_state_dict({n: t for n, t in state.items() if ".depth." in n}, strict=False)
    with torch.inference_mode():
        want = F.normalize(upstream({"depth": (disparity / 75 - 0.0418) / 0.0295})["depth"], dim=-1)
        got = F.normalize(encoder.module()(disparity / 75), dim=-1)
        wider = replace(encoder, modality=encoder.modality.with_settings({"max_disparity_px": 150.0}))
        same = F.normalize(wider.module()(disparity / 150), dim=-1)
    assert (got - want).abs().max() < 1e-6
    assert (same - want).abs().max() < 1e-6


def test_imu_takes_fractions_of_the_sensors_full_scale(weights: Path, state: dict[str, Tensor]) -> None:
    encoder = Imagebind.load("imu", weights)
    sensor = encoder.modality.with_settings({"accel_full_scale": 40.0, "gyro_full_scale": 5.0})
    si = random_input("imu", 2)  # m/s2 and rad/s
    fractions = si / torch.tensor([40.0] * 3 + [5.0] * 3)[:, None]
    upstream = random_model({"imu": PUBLISHED["imu"]}, 1024)
    upstream.load_state_dict({n: t for n, t in state.items() if ".imu." in n}, strict=False)
    with torch.inference_mode():
        want = F.normalize(upstream({"imu": si})["imu"], dim=-1)
        got = F.normalize(replace(encoder, modality=sensor).module()(fractions), dim=-1)
    assert (got - want).abs().max() < 1e-6


def test_the_fingerprint_is_of_this_trunk_alone(weights: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    head = "modality_heads.imu.3.weight"
    torch.save({name: tensor for name, tensor in state.items() if ".imu." in name}, tmp_path / "imu.pth")
    torch.save({**state, head: state[head] + 1e-3}, tmp_path / "other.pth")
    whole, alone, other = (
        Imagebind.load("imu", path).fingerprint for path in (weights, tmp_path / "imu.pth", tmp_path / "other.pth")
    )
    assert len(whole) == 64
    assert whole == alone != other


def test_modalities_without_a_trunk_are_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match="no trunk for the modality `point`") as caught:
        Imagebind.load("point", weights)
    assert caught.value.hint == "there is: image, video, audio, thermal, depth, imu"


def test_weights_are_asked_for() -> None:
    with pytest.raises(ConfigError, match="without weights") as caught:
        Imagebind.load("thermal", None)
    assert "`--weights FILE`" in str(caught.value.hint)


def test_a_trunk_of_another_size_is_refused_before_work_begins(weights: Path) -> None:
    with pytest.raises(InputError, match=r"`.*imagebind_huge\.pth` for `thermal` .* 154 missing"):
        Imagebind.load("thermal", weights)


def run(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_importing_the_encoder_loads_no_torch() -> None:
    code = "import sys, advcal_edge.encoders.imagebind; print('torch' in sys.modules, 'tokenizers' in sys.modules)"
    assert run(code).split() == ["False", "False"]


def test_without_torch_an_error_says_what_to_install(weights: Path) -> None:
    code = """
import pathlib, sys
from advcal_edge.encoders.imagebind import Imagebind, load_text
from advcal_edge.errors import DependencyError
sys.modules["torch"] = None
for load in (lambda path: Imagebind.load("imu", path), load_text):
    try:
        load(pathlib.Path(sys.argv[1]))
    except DependencyError as error:
        print(error.package, error.hint)
"""
    assert run(code, weights).splitlines() == ["torch pip install 'advcal-edge[calibrate]'"] * 2


READ_AHEAD = 128 * 2**10
COST = """
import json, os, pathlib, sys, time
import torch
from advcal_edge.encoders import checkpoint
from advcal_edge.encoders.imagebind import Imagebind, trunk

def status(field):
    (line,) = (line for line in open("/proc/self/status") if line.startswith(field))
    return 1024 * int(line.split()[1])

def read():
    (line,) = (line for line in open("/proc/self/io") if line.startswith("read_bytes"))
    return int(line.split()[1])

modality, path = sys.argv[1:]
tiny = pathlib.Path(path).with_suffix(".tiny.pth")
torch.save({"a": torch.zeros(1)}, tiny)
checkpoint.digest(checkpoint.read_tensors(tiny, lambda name: True))  # what the first use of torch costs
file = os.open(path, os.O_RDONLY)
os.fsync(file)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
open("/proc/self/clear_refs", "w").write("5")  # the peak begins here
before, read_before, start = status("VmRSS"), read(), time.perf_counter()
encoder = Imagebind.load(modality, pathlib.Path(path))
loaded = time.perf_counter() - start
module = encoder.module()
seconds = time.perf_counter() - start
size = sum(p.nbytes for p in module.parameters())
peak, from_disk = status("VmHWM") - before, read() - read_before
print(json.dumps({"trunk": size, "peak": peak, "read": from_disk, "load": loaded, "seconds": seconds}))
"""


@pytest.mark.slow
def test_loading_one_trunk_costs_little_more_than_that_trunk(tmp_path: Path) -> None:
    sensors = {tower: PUBLISHED[tower] for tower in ("thermal", "audio", "depth", "imu")}
    path = tmp_path / "imagebind_huge.pth"
    state = random_model(sensors, 1024).state_dict()
    torch.save(state, path)
    for modality in sensors:
        cost = json.loads(run("import warnings; warnings.simplefilter('ignore')\n" + COST, modality, path))
        print(modality, cost)
        assert cost["trunk"] < path.stat().st_size / 2
        assert cost["peak"] < 1.2 * cost["trunk"]
        # nothing on a file system in memory; elsewhere finding a record makes the kernel read ahead
        assert cost["read"] < 1.2 * cost["trunk"] + READ_AHEAD * len(state)
