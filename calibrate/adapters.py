"""Trainable parts around or inside a frozen encoder: none, a head, low-rank updates, or several of them.

Low-rank updates (Hu et al. 2021, arXiv 2106.09685) are parametrizations. The stored weight stays unchanged and frozen;
the module computes with W + (alpha / r) B A. Removing the parametrization leaves that sum, so the merged encoder costs
an engine nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from advcal_edge.calibrate.config import AdapterConfig, AdapterKind
from advcal_edge.config import Layer, resolve
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.registry import choose
from advcal_edge.tensors import Complaint, open_tensors

NO_ADAPTER = Complaint(BundleError, "holds no adapter", "calibrate again")
EMBED_BATCH = 200


class AdaptedModule(nn.Module):
    """Physical x (n, ...) -> z (n, d) of unit norm: head(trunk(x)) / |head(trunk(x))|.

    Raises:
        ConfigError: the trunk already has an adapter: the encoder returned the same module twice.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        if any(parametrize.is_parametrized(module) for module in trunk.modules()):
            raise ConfigError(
                f"the encoder's `{type(trunk).__name__}` carries an adapter already; expected an untouched module",
                hint="`module()` of the encoder must return a new module each time, like `copy.deepcopy(...)`",
            )
        self.trunk = trunk
        self.head: nn.Module = nn.Identity()
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.trunk(x))

    def readout(self, features: Tensor) -> Tensor:
        """Apply head and normalisation to the trunk's output (n, d)."""
        return F.normalize(self.head(features), dim=-1)


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def embed_all(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function` over x (n, ...) in batches, without gradients."""
    with torch.no_grad():
        return torch.cat([function(part) for part in torch.split(x, EMBED_BATCH)])


Attach = Callable[[AdaptedModule, AdapterConfig, int, torch.Generator], None]
"""Adds a part to a module, given its settings, the width d of the embedding and a random generator."""

ADAPTERS: dict[str, Attach] = {}
"""By kind; filled by `adapter`. Every part computes the identity until it is trained."""


def adapter(kind: AdapterKind) -> Callable[[Attach], Attach]:
    """Register a function as the implementation of `kind` in `adapter.kind`."""

    def register(attach: Attach) -> Attach:
        ADAPTERS[kind] = attach
        return attach

    return register


def attach_adapter(trunk: nn.Module, config: AdapterConfig, embedding_dim: int, seed: int) -> AdaptedModule:
    """Take ownership of `trunk`, freeze it, and add the parts of `config`, which start as the identity.

    Raises:
        ConfigError: an unknown part.
    """
    model, generator = AdaptedModule(trunk), torch.Generator().manual_seed(seed)
    for part in config.parts:
        choose("adapter", part, ADAPTERS)(model, config, embedding_dim, generator)
    return model


@adapter("identity")
def attach_identity(model: AdaptedModule, config: AdapterConfig, dim: int, generator: torch.Generator) -> None:
    """Leave `model` unchanged: the control experiment, in which nothing is trained."""


class ResidualHead(nn.Module):
    """z + z A^T B^T with A (r, d) and B (d, r); B starts at zero, so the head starts as the identity."""

    def __init__(self, dim: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, dim, generator=generator) * dim**-0.5)
        self.up = nn.Parameter(torch.zeros(dim, rank))

    def forward(self, z: Tensor) -> Tensor:
        return z + z @ self.down.T @ self.up.T


def linear_head(dim: int) -> nn.Linear:
    """d -> d with bias, starting as the identity (the head of UniBind, arXiv 2403.12532)."""
    with torch.random.fork_rng(devices=[]):  # its random initialisation is discarded and must not change a seeded run
        head = nn.Linear(dim, dim)
    with torch.no_grad():
        head.weight.copy_(torch.eye(dim))
        head.bias.zero_()
    return head


@adapter("head")
def attach_head(model: AdaptedModule, config: AdapterConfig, dim: int, generator: torch.Generator) -> None:
    """Give `model` a trainable head of `config.head_rank`, or a full one for rank 0.

    Cheap, but weak on its own: a head cannot restore what an attack destroys before it.
    """
    model.head = ResidualHead(dim, config.head_rank, generator) if config.head_rank else linear_head(dim)


class LowRank(nn.Module):
    """W + (alpha / r) B A for W (o, ...) seen as (o, i), with A (r, i) random and B (o, r) zero at the start."""

    def __init__(self, shape: torch.Size, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        inputs = prod(shape[1:])
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.randn(rank, inputs, generator=generator) * inputs**-0.5)
        self.up = nn.Parameter(torch.zeros(shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down).view_as(weight)


class Offset(nn.Module):
    """W + D with D zero at the start, for vectors, for which a low rank saves nothing."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.zeros(shape))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.delta


@adapter("lora")
def attach_lora(model: AdaptedModule, config: AdapterConfig, dim: int, generator: torch.Generator) -> None:
    """Update every linear map of the trunk and, if `config` says so, its patch convolution and layer norms."""
    for module in list(model.trunk.modules()):
        for name in updated_weights(module, config):
            weight: Tensor = getattr(module, name)
            parametrize.register_parametrization(
                module, name, LowRank(weight.shape, config.rank, config.alpha, generator), unsafe=True
            )
        if config.norms and isinstance(module, nn.LayerNorm):
            for name, vector in list(module.named_parameters(recurse=False)):
                parametrize.register_parametrization(module, name, Offset(vector.shape), unsafe=True)


def updated_weights(module: nn.Module, config: AdapterConfig) -> tuple[str, ...]:
    """Names of the weights of `module` that get a low-rank update; multi-head attention has three in one."""
    if isinstance(module, nn.MultiheadAttention):
        return ("in_proj_weight",) if module.in_proj_weight is not None else ()
    if isinstance(module, nn.Linear):
        return ("weight",)
    if config.stem and isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return ("weight",)
    return ()


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """Trained tensors by name, the settings that say where they belong, and the size of the encoder."""

    config: AdapterConfig
    state: Mapping[str, Tensor]
    embedding_dim: int
    encoder_parameters: int

    @classmethod
    def of(cls, model: AdaptedModule, config: AdapterConfig, embedding_dim: int) -> Adapter:
        """Copy the trainable parameters of `model`."""
        state = {name: value.detach().cpu().clone() for name, value in trainable(model).items()}
        total = sum(value.numel() for value in model.parameters())
        return cls(config, state, embedding_dim, total - sum(value.numel() for value in state.values()))

    @property
    def kind(self) -> str:
        """Its parts joined by `+`."""
        return self.config.kind

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(value.numel() for value in self.state.values())

    @property
    def trainable_fraction(self) -> float:
        """Trained parameters / parameters of the frozen encoder."""
        return self.parameters / self.encoder_parameters

    def to_bytes(self) -> bytes:
        """As a safetensors file; everything except the tensors is in its metadata."""
        about = {
            "config": asdict(self.config),
            "embedding_dim": self.embedding_dim,
            "encoder_parameters": self.encoder_parameters,
        }
        # one key: safetensors writes several in random order, and equal adapters must have equal bytes
        return save({name: value.contiguous() for name, value in self.state.items()}, {"adapter": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> Adapter:
        """Read a file that `to_bytes` wrote.

        Raises:
            BundleError: not such a file.
        """
        with open_tensors(path, "pt", NO_ADAPTER) as file:
            about = file.document("adapter")
            state = {name: file.tensor(name) for name in file.names}
        counts = [about.get(name) for name in ("embedding_dim", "encoder_parameters")]
        dim, parameters = (count if type(count) is int else 0 for count in counts)
        if dim < 1 or parameters < 1 or not isinstance(about.get("config"), dict):
            raise NO_ADAPTER.of(path, "expected `config`, `embedding_dim` and `encoder_parameters`")
        if odd := [name for name, value in state.items() if not value.is_floating_point()]:
            raise NO_ADAPTER.of(path, f"`{odd[0]}` is {state[odd[0]].dtype}; expected numbers of floating point")
        try:
            config = resolve(AdapterConfig, [Layer("its config", about["config"])])
        except ConfigError as error:
            raise NO_ADAPTER.of(path, error.message) from error
        largest = max((size for value in state.values() if value.numel() for size in value.shape), default=0)
        if "head" in config.parts and dim > largest:  # a head is built before its tensors are checked
            raise NO_ADAPTER.of(path, f"`embedding_dim` {dim} is larger than any of its tensors")
        return cls(config, state, dim, parameters)
