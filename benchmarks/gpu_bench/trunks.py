"""ImageBind's trunks at their true sizes with random weights, what a pass through one costs, and inputs for it.

Speed does not depend on the values of the weights, and the published ones may not be shipped.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.encoders.imagebind.encoder import MODALITIES
from advcal_edge.encoders.imagebind.published import HUGE, TrunkConfig
from advcal_edge.encoders.imagebind.trunk import Trunk
from advcal_edge.encoders.operations import count_pass
from advcal_edge.spec import TensorSpec
from gpu_bench.device import find_device
from gpu_bench.settings import Settings

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SEED = 0


class Typed(nn.Module):
    """A trunk that computes in one type, from and to float32."""

    def __init__(self, trunk: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.trunk, self.dtype = trunk.to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.trunk(x.to(self.dtype))
        return z.float()


class Autocast(nn.Module):
    """A float32 trunk whose products are in bfloat16, from and to float32."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            z: Tensor = self.trunk(x)
        return z.float()


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one sample: products forward, and forward with the input's gradient; values to read and to write."""

    forward: int
    both: int
    parameters: int
    values: int
    """Of input and embedding, which are float32 whatever the trunk computes in."""

    def least_bytes(self, batch: int, precision: str) -> int:
        """What at least passes through memory in one forward pass: every weight once, inputs and embeddings."""
        return self.parameters * DTYPES[precision].itemsize + 4 * batch * self.values

    def to_json(self) -> dict[str, int]:
        """Plain types."""
        return asdict(self)


def config(modality: str, encoder: str) -> TrunkConfig:
    """Published sizes, or the same structure a few thousand times smaller."""
    published = HUGE[modality]
    return published if encoder == "imagebind" else replace(published, width=32, depth=1, heads=2, embedding_dim=32)


def spec(modality: str) -> TensorSpec:
    """The input of a trunk."""
    return MODALITIES[modality].input


@lru_cache(maxsize=1)
def trunk(modality: str, encoder: str) -> Trunk:
    """Random weights, the same in every process and on every device; float32, on the CPU. Not to be changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        made = build(modality, encoder)
    return made.eval().requires_grad_(False)


def build(modality: str, encoder: str) -> Trunk:
    """A trunk of random weights, where torch makes them."""
    made = Trunk(config(modality, encoder))
    for tokens in (made.class_token, made.position):
        nn.init.normal_(tokens, std=0.02)
    return made


def typed(modality: str, encoder: str, precision: str) -> nn.Module:
    """x (n, ...) float32 to unit-norm z (n, d) float32 through a trunk of `precision`, on the device."""
    own = copy.deepcopy(trunk(modality, encoder))
    return AdaptedModule(Typed(own, DTYPES[precision])).to(find_device())


def inputs(modality: str, batch: int) -> Tensor:
    """Values x (batch, ...) from the whole range of the sensor, on the device."""
    return noise(spec(modality), batch).to(find_device())


def noise(about: TensorSpec, batch: int) -> Tensor:
    """The same for any input, on the CPU."""
    low, high = about.bounds
    generator = torch.Generator().manual_seed(SEED)
    return low + (high - low) * torch.rand(batch, *about.shape, generator=generator)


@lru_cache
def reference(settings: Settings, modality: str, batch: int) -> Tensor:
    """What the float32 trunk makes of `inputs`, (n, d) on the CPU."""
    with torch.no_grad():
        z: Tensor = typed(modality, settings.encoder, "fp32")(inputs(modality, batch))
    return z.cpu()


def cosine(z: Tensor, expected: Tensor) -> float:
    """The smallest cosine of a row of z (n, ...) and its row of `expected`: whether what is timed computes the same."""
    pair = (z.flatten(1).double().cpu(), expected.flatten(1).double().cpu())
    if not all(bool(torch.isfinite(one).all()) for one in pair):
        raise FloatingPointError("its numbers are not finite")
    return float(torch.cosine_similarity(*pair, dim=1).min())


def cost(modality: str, encoder: str) -> Cost:
    """Counted on the meta device, which computes nothing."""
    with torch.device("meta"):
        module = AdaptedModule(Trunk(config(modality, encoder))).to("meta")
    shape = spec(modality).shape
    x = torch.empty(1, *shape, device="meta")
    z = module(x)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    passes = count_pass(module, x)
    return Cost(int(passes.forward), int(passes.both), parameters, x[0].numel() + z[0].numel())
