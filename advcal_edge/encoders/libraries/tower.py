"""What the libraries have in common: a network behind the normalisation of its input, as an `Encoder`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.checkpoint import digest
from advcal_edge.errors import ConfigError, DependencyError, InputError, first_line
from advcal_edge.spec import Modality

UNKNOWN = "unknown: see where the weights came from"
BATCH = 64

Read = Callable[[nn.Module, Tensor], Tensor]
"""A network and its normalised input (n, ...) to the embedding (n, d)."""


class Tower(nn.Module):
    """Physical x (n, c, ...) to the embedding (n, d) that `read` takes from the network for (x - mean) / std."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float], read: Read) -> None:
        super().__init__()
        self.network, self.read = network, read
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.network, (x - self.mean) / self.std)


@dataclass(frozen=True, slots=True, eq=False)
class LibraryEncoder:
    """A frozen tower of a library, in memory; implements `Encoder`."""

    name: str
    modality: Modality
    embedding_dim: int
    license: str
    fingerprint: str
    metadata: Mapping[str, Any]
    tower: Tower

    def centers(self) -> None:
        """None: centers come from the family's text tower if it has one, with your own prompts."""

    def module(self) -> nn.Module:
        """Physical x (n, ...) -> embedding (n, d), float32 on the CPU, in eval mode and without gradients."""
        return deepcopy(self.tower)


@dataclass(frozen=True, slots=True, eq=False)
class LibraryText:
    """A text tower of a library; implements `TextTower`."""

    temperature: float
    source: str
    notes: tuple[str, ...]
    read: Callable[[list[str]], Tensor]
    """Prompts to embeddings (n, d), not normalised."""

    def embed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-norm embeddings (n, d); prompts are cut to the tower's context."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(prompts), BATCH):
                parts.append(F.normalize(self.read(list(prompts[start : start + BATCH])), dim=-1).numpy())
        return np.concatenate(parts)


def encoder(
    name: str,
    modality: Modality,
    tower: Tower,
    tensors: Mapping[str, Tensor],
    license_text: object,
    metadata: Mapping[str, Any],
) -> LibraryEncoder:
    """An encoder of this tower, whose width is that of its embedding of one sample; `tensors` are its weights.

    Raises:
        InputError: the tower does not take inputs of this modality.
    """
    tower = tower.eval().requires_grad_(False)
    x = torch.full((1, *modality.input.shape), sum(modality.input.bounds) / 2)
    try:
        with torch.no_grad():
            z = tower(x)
    except Exception as error:  # the library's own, whatever it is
        raise InputError(
            f"the tower of `{name}` does not take `{modality.name}` of shape {modality.input.shape}:"
            f" {first_line(error)}",
            hint="a tower of single frames, whose size is that of the configuration beside its weights",
        ) from error
    if z.ndim != 2:
        raise InputError(f"the tower of `{name}` gives {tuple(z.shape)} for one input; expected one embedding, (1, d)")
    text = license_text if isinstance(license_text, str) and license_text else UNKNOWN
    fingerprint = digest({**tensors, "mean": tower.mean, "std": tower.std})
    return LibraryEncoder(name, modality, z.shape[1], text, fingerprint, metadata, tower)


def load_library(module: str, package: str, extra: str, purpose: str) -> Any:
    """The library's module.

    Raises:
        DependencyError: it is not installed.
        ConfigError: it is, and does not load here.
    """
    try:
        with quiet():
            return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise ConfigError(
                f"`{package}` does not load: {first_line(error)}", hint=f"pip install {error.name}"
            ) from error
        raise DependencyError(package, extra=extra, purpose=purpose) from error
    except Exception as error:  # as torchvision does beside another build of torch
        raise ConfigError(
            f"`{package}` does not load: {first_line(error)}",
            hint="install torch and torchvision from the same index, in versions that go together",
        ) from error


def need_weights(name: str, weights: Path | None) -> Path:
    """The path of the weights.

    Raises:
        ConfigError: none was given.
    """
    if weights is None:
        raise ConfigError(f"`{name}` brings no weights, and none are downloaded", hint="`--weights PATH`, your copy")
    return weights


def check_modality(name: str, modality: str, offered: str = "image") -> None:
    """Refuse a sensor that the tower is not made for.

    Raises:
        ConfigError: another than the one offered.
    """
    if modality != offered:
        raise ConfigError(f"`{name}` has no tower for the modality `{modality}`", hint=f"`--modality {offered}`")


def square(size: Sequence[int], where: str) -> int:
    """The side of square frames.

    Raises:
        InputError: they are not square.
    """
    height, width = size
    if height != width or height < 1:
        raise InputError(
            f"{where} asks for frames of {height} x {width}; expected square ones",
            hint="frames of other shapes need a factory of your own, `package.module:factory`: docs/encoders.md",
        )
    return height


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, libraries do not log: what is wrong with a checkpoint is said by errors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
