"""The frozen encoder with what is trained in it, and the registry of the parts that an adapter is made of.

Parts that change weights are parametrizations. The stored weight stays unchanged and frozen below them; removing the
parametrization leaves the changed weight, so the merged encoder costs an engine nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from advcal_edge.calibrate.config import AdapterConfig, AdapterKind
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose

EMBED_BATCH = 200
LISTED = 6  # kinds of layers named in an error

Map = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Part(nn.Module):
    """What an adapter adds: its parameters are trained, its buffers are not; a bundle stores both."""

    estimated = False
    """Do the buffers hold numbers estimated from data, in the place of the encoder's own?"""


class AdaptedModule(nn.Module):
    """Physical x (n, ...) -> z (n, d) of unit norm: head(trunk(x)) / |head(trunk(x))|.

    Weight norm and spectral norm of the trunk are replaced by the weights they come to.

    Raises:
        ConfigError: the trunk already has an adapter: the encoder returned the same module twice.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        trunk.eval()
        _bake_norms(trunk)
        self.encoder_parameters = sum(value.numel() for value in trunk.parameters())
        self.trunk = trunk
        self.head: nn.Module = nn.Identity()
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.trunk(x))

    def readout(self, features: Tensor) -> Tensor:
        """Apply head and normalisation to the trunk's output (n, d)."""
        return F.normalize(self.head(features), dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class CleanInputs:
    """What parts are estimated from: inputs x (n, ...), and the radius around each number in the unit of x."""

    x: Tensor
    radius: float


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a part may use while it is added."""

    dim: int
    """Width d of the embedding."""
    generator: torch.Generator
    clean: CleanInputs | None
    """None if stored numbers replace those that a part starts with: then only shapes matter."""


Attach = Callable[[AdaptedModule, AdapterConfig, Context], None]
"""Adds a part to a module.

Raises:
    ConfigError: the module has nothing that the part could change.
"""


@dataclass(frozen=True, slots=True)
class Registered:
    """How a part is added, and whether its numbers end up in the encoder's weights."""

    attach: Attach
    merges: bool


ADAPTERS: dict[str, Registered] = {}
"""By kind; filled by `adapter`."""


def adapter(kind: AdapterKind, *, merges: bool) -> Callable[[Attach], Attach]:
    """Register a function as the implementation of `kind` in `adapter.kind`."""

    def register(attach: Attach) -> Attach:
        ADAPTERS[kind] = Registered(attach, merges)
        return attach

    return register


def attach_adapter(
    trunk: nn.Module, config: AdapterConfig, embedding_dim: int, seed: int, clean: CleanInputs | None = None
) -> AdaptedModule:
    """Take ownership of `trunk`, freeze it, and add the parts of `config`.

    Except for `stem-filter` and `prompt`, they start as the identity.

    Raises:
        ConfigError: an unknown part, or one that finds nothing to change.
    """
    return attach_parts(AdaptedModule(trunk), config, embedding_dim, seed, clean)


def attach_parts(
    model: AdaptedModule, config: AdapterConfig, embedding_dim: int, seed: int, clean: CleanInputs | None = None
) -> AdaptedModule:
    """Add the parts of `config` to a module that has none; the same module.

    Raises:
        ConfigError: as for `attach_adapter`.
    """
    context = Context(embedding_dim, torch.Generator().manual_seed(seed), clean)
    for part in config.parts:
        choose("adapter", part, ADAPTERS).attach(model, config, context)
    return model


@adapter("identity", merges=True)
def attach_identity(model: AdaptedModule, config: AdapterConfig, context: Context) -> None:
    """Leave `model` unchanged: the control experiment, in which nothing is trained."""


def merge(model: nn.Module) -> None:
    """Replace each parametrized weight by its current value, in place."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)  # noqa: S101
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def fixed(module: nn.Module) -> dict[str, Tensor]:
    """The numbers of parts that are not trained, by name."""
    return {
        f"{path}.{name}": value
        for path, part in module.named_modules()
        if isinstance(part, Part)
        for name, value in part.named_buffers(recurse=False)
    }


def embed_all(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function` over x (n, ...) in batches, without gradients."""
    with torch.no_grad():
        return torch.cat([function(part) for part in torch.split(x, EMBED_BATCH)])


def parametrize_weight(module: nn.Module, name: str, part: Part) -> None:
    """Compute the weight `name` of `module` by `part` from now on."""
    parametrize.register_parametrization(module, name, part, unsafe=True)


def stem_of(model: AdaptedModule) -> Map | None:
    """The first convolution or linear map of the trunk, in the order in which its layers are defined."""
    return next((module for module in model.trunk.modules() if isinstance(module, MAPS)), None)


def find_stem(model: AdaptedModule, part: str) -> Map:
    """The stem of the trunk, for a part that cannot do without.

    Raises:
        ConfigError: it has none.
    """
    stem = stem_of(model)
    if stem is None:
        raise nothing_found(model, part, "a convolution or a linear map")
    return stem


def nothing_found(model: AdaptedModule, part: str, wanted: str) -> ConfigError:
    """The error of a part that has nothing to work on; it says what the trunk consists of."""
    layers = [module for module in model.trunk.modules() if not isinstance(module, Part)]
    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in layers)
    leaves = [module for module in layers if not any(True for _ in module.children())]
    counts = Counter(str(getattr(module, "original_name", type(module).__name__)) for module in leaves)
    listed = ", ".join(f"{count} {name}" for name, count in counts.most_common(LISTED)) or "no layers"
    more = f" and {len(counts) - LISTED} other kinds" if len(counts) > LISTED else ""
    kind = "a TorchScript module, whose layers cannot be changed" if scripted else f"a {type(model.trunk).__name__}"
    return ConfigError(
        f"`--adapter {part}` finds nothing to change in the encoder; expected {wanted},"
        f" found {kind}, of {listed}{more}",
        hint="return the eager `nn.Module` from the factory, not its trace"
        if scripted
        else "`--adapter head` works behind any encoder; `--adapter identity` trains nothing",
    )


def _bake_norms(trunk: nn.Module) -> None:
    """Turn weight norm and spectral norm, of both generations of torch's interface, into plain weights."""
    for module in list(trunk.modules()):
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)  # noqa: S101
            for name, steps in list(module.parametrizations.items()):
                if any(isinstance(step, Part) for step in steps.children()):
                    raise ConfigError(
                        f"the encoder's `{type(trunk).__name__}` carries an adapter already; expected an untouched"
                        " module",
                        hint="`module()` of the encoder must return a new module each time, like `copy.deepcopy(...)`",
                    )
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
