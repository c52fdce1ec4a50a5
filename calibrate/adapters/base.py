"""An adapter as numbers on disk, and the module it becomes part of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from advcal_edge.calibrate.config import AdapterConfig
from advcal_edge.config import Layer, resolve
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.tensors import Complaint, open_tensors

NO_ADAPTER = Complaint(BundleError, "holds no adapter", "calibrate again")


class AdaptedModule(nn.Module):
    """Physical x (n, ...) -> z (n, d) of unit norm: head(trunk(x)) / |head(trunk(x))|.

    Raises:
        ConfigError: the trunk has an adapter already: the encoder handed out the same module twice.
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
        """The trunk's output (n, d) through head and normalisation."""
        return F.normalize(self.head(features), dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """Trained numbers by name, the settings that say where they go, and how many the encoder has."""

    config: AdapterConfig
    state: Mapping[str, Tensor]
    embedding_dim: int
    encoder_parameters: int

    @classmethod
    def of(cls, model: AdaptedModule, config: AdapterConfig, embedding_dim: int) -> Adapter:
        """A copy of what is trainable in `model`."""
        state = {name: value.detach().cpu().clone() for name, value in trainable(model).items()}
        total = sum(value.numel() for value in model.parameters())
        return cls(config, state, embedding_dim, total - sum(value.numel() for value in state.values()))

    @property
    def kind(self) -> str:
        """Its parts joined by `+`."""
        return self.config.kind

    @property
    def parameters(self) -> int:
        """Numbers trained."""
        return sum(value.numel() for value in self.state.values())

    @property
    def trainable_fraction(self) -> float:
        """Numbers trained / parameters of the frozen encoder."""
        return self.parameters / self.encoder_parameters

    def to_bytes(self) -> bytes:
        """As a safetensors file; everything but the tensors is in its metadata."""
        about = {
            "config": asdict(self.config),
            "embedding_dim": self.embedding_dim,
            "encoder_parameters": self.encoder_parameters,
        }
        # one key: safetensors writes several in random order, and equal adapters must be equal bytes
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
        if "head" in config.parts and dim > largest:  # a head is built before its numbers are looked at
            raise NO_ADAPTER.of(path, f"`embedding_dim` {dim} is larger than any of its tensors")
        return cls(config, state, dim, parameters)


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training may change, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside, nothing is trainable and each adapted weight is computed once, as an attacker's many passes want it."""
    moving = list(trainable(module).values())
    for parameter in moving:
        parameter.requires_grad_(False)
    try:
        with parametrize.cached():
            yield
    finally:
        for parameter in moving:
            parameter.requires_grad_(True)
