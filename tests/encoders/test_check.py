"""Encoders of one's own that are wrong in some way: each is refused in words, whatever its factory returns."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from advcal_edge import spec
from advcal_edge.cli import main

DIM = 4


class Net(nn.Module):
    """Pictures (n, 3, 8, 8) to `change` of a linear map of them."""

    def __init__(self, change: Callable[[Tensor], Any] = lambda z: z, before: Callable[[Tensor], Tensor] = lambda x: x):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.linear = nn.Linear(192, DIM)
        self.change, self.before = change, before

    def forward(self, x: Tensor) -> Any:
        return self.change(self.linear(self.before(x).flatten(1)))


class Autocast(Net):
    def forward(self, x: Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            z = super().forward(x)
        return z.float()


class Inference(Net):
    def forward(self, x: Tensor) -> Any:
        with torch.inference_mode():
            return super().forward(x)


class ModelOutput(OrderedDict[str, Any]):
    """Like those of transformers: a mapping with the fields as attributes too."""


@dataclass(frozen=True)
class Own:
    """An encoder that is right in every field."""

    build: Callable[[], Any] = Net
    modality: Any = field(default_factory=lambda: spec.image(8))
    name: Any = "own"
    embedding_dim: Any = DIM
    license: Any = "MIT"
    fingerprint: Any = "0" * 64
    metadata: Any = field(default_factory=dict)
    brought: Any = None

    def centers(self) -> Any:
        return self.brought

    def module(self) -> Any:
        return self.build()


class Raising:
    """Right up to one property."""

    def __getattr__(self, name: str) -> Any:
        if name == "license":
            raise RuntimeError("no idea")
        return getattr(Own(), name)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, base in (("dark", 60), ("light", 190)):
        for index in range(8):
            path = tmp_path / "frames" / label / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = np.clip(rng.normal(base, 40, (8, 8, 3)), 0, 255).astype(np.uint8)
            path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return tmp_path / "frames"


@pytest.fixture
def calibrate(frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], int]:
    """Calibrate with what the factory `own:encoder` returns; the exit code."""

    def run(returned: Any, *options: str) -> int:
        module = ModuleType("own")
        module.encoder = lambda modality, weights: returned  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "own", module)
        brief = ["evaluate.steps=2", "evaluate.queries=60", "train.samples=8", "train.batch=4", "train.epochs=1"]
        settings = [part for item in brief for part in ("--set", item)]
        out = str(tmp_path / "B")
        command = ["calibrate", "--modality", "image", "--encoder", "own:encoder", "--data", str(frames), "--out", out]
        return main([*command, "--adapter", "head", "--eps", "0.2", *settings, *options])

    return run


NET = Own()
WRONG: dict[str, tuple[Any, str]] = {
    "None": (None, "returned a NoneType without `name`"),
    "a type": (Own, "returned a type without `modality`"),
    "no name": (replace(NET, name=None), "expected a text"),
    "a modality by name": (replace(NET, modality="image"), "one of `advcal_edge.spec`"),
    "a width as text": (replace(NET, embedding_dim="4"), "a whole number above 0"),
    "a width of nothing": (replace(NET, embedding_dim=0), "a whole number above 0"),
    "a fingerprint as bytes": (replace(NET, fingerprint=b"0" * 64), "a sha256"),
    "metadata that JSON cannot hold": (replace(NET, metadata={"a": object()}), "plain values"),
    "metadata without end": (replace(NET, metadata={"a": float("nan")}), "plain values"),
    "a property that fails": (Raising(), "without `license` (RuntimeError: no idea)"),
    "centers as an array": (replace(NET, brought=np.eye(4)), "returned a ndarray; expected `Centers` or None"),
    "a module that fails to build": (Own(lambda: 1 / 0), "`module()` of the encoder `own` fails: division by zero"),
    "a function for a module": (Own(lambda: torch.sin), "expected a torch module"),
    "a forward that fails": (Own(lambda: Net(lambda z: z @ torch.eye(3))), "fails on samples of shape (2, 3, 8, 8)"),
    "a tuple": (Own(lambda: Net(lambda z: (z, z))), "returned tuple; expected a float32 tensor of shape (2, 4)"),
    "a mapping": (Own(lambda: Net(lambda z: {"embeds": z})), "returned a mapping with 'embeds'"),
    "doubles": (Own(lambda: Net(lambda z: z.double())), "returned torch.float64"),
    "weights in half": (Own(lambda: Net().half()), "computes in torch.float16: its `linear.weight`"),
    "bfloat16 on the way": (Own(lambda: Net(lambda z: (z.bfloat16() * 2).float())), "torch.bfloat16: `mul`"),
    "autocast": (Own(lambda: Autocast()), "computes in torch.bfloat16: `addmm`"),
    "an output of the library": (Own(lambda: Net(lambda z: ModelOutput(z=z))), "returned a mapping with 'z'"),
    "a list": (Own(lambda: Net(lambda z: [z])), "returned list; expected a float32 tensor"),
    "a map of positions": (Own(lambda: Net(lambda z: z[:, :, None, None])), "returned the shape (2, 4, 1, 1)"),
    "no gradient by a switch": (Own(lambda: Net(before=torch.no_grad()(lambda x: x + 0))), "does not reach the input"),
    "inference alone": (Own(lambda: Inference()), "does not reach the input"),
    "another width": (replace(NET, embedding_dim=5), "returned the shape (2, 4)"),
    "tokens": (Own(lambda: Net(lambda z: z[:, None])), "returned the shape (2, 1, 4)"),
    "not a number": (Own(lambda: Net(lambda z: z * torch.nan)), "not finite"),
    "nothing": (Own(lambda: Net(lambda z: z * 0)), "length zero"),
    "a mean over the batch": (Own(lambda: Net(lambda z: z - z.mean(0) + 1)), "depends on the others in its batch"),
    "chance": (Own(lambda: Net(lambda z: z + torch.randn_like(z))), "two calls on the same samples differ"),
    "no gradient": (Own(lambda: Net(before=lambda x: x.detach())), "does not reach the input"),
    "arrays on the way": (Own(lambda: Net(before=lambda x: torch.from_numpy(x.numpy() + 0))), "fails on samples"),
    "a gradient of infinity": (Own(lambda: Net(before=lambda x: (x - x).sqrt() + x)), "is not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_said_what_is_wrong(
    name: str, calibrate: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    returned, words = WRONG[name]
    assert calibrate(returned) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "hint:" in err
    assert not (tmp_path / "B").exists()


def test_a_factory_that_fails_and_one_that_is_none(
    calibrate: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("own2")
    module.fails = lambda modality, weights: {}["x"]  # type: ignore[attr-defined]
    module.none = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own2", module)
    for name, words in (("fails", "`own2:fails` fails for `image`: KeyError"), ("none", "expected a function")):
        assert main(["calibrate", "--modality", "image", "--encoder", f"own2:{name}"]) == 2
        assert words in capsys.readouterr().err


def test_a_right_one_is_calibrated(calibrate: Callable[..., int]) -> None:
    assert calibrate(Own()) == 0


def test_a_rounding_in_front_is_warned_of(calibrate: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Its gradient is zero: PGD finds nothing, and the black box does."""
    assert calibrate(Own(lambda: Net(before=lambda x: torch.round(4 * x) / 4)), "--seed", "1") == 0
    assert "no attack along gradients breaks anything" in capsys.readouterr().err


def test_a_trace_has_nothing_to_train(calibrate: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    traced = torch.jit.trace(Net(), torch.rand(1, 3, 8, 8))
    assert calibrate(Own(lambda: traced), "--adapter", "lora") == 2
    err = capsys.readouterr().err
    assert "found a TorchScript module" in err
    assert "1 Linear" in err
    assert "not its trace" in err


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("old", [False, True])
def test_reparametrized_weights_are_baked(norm: str, old: bool, calibrate: Callable[..., int]) -> None:
    def build() -> nn.Module:
        net = Net()
        wrap = getattr(nn.utils if old else nn.utils.parametrizations, norm)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net.linear = wrap(net.linear)
        return net

    from advcal_edge.calibrate.adapters import AdaptedModule

    x = torch.rand(2, 3, 8, 8)
    built = build().eval()
    torch.testing.assert_close(AdaptedModule(build())(x), nn.functional.normalize(built(x), dim=-1))
    assert calibrate(Own(build), "--adapter", "lora") == 0
