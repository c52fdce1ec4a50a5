"""Operations of one pass through an encoder, as it came and with an adapter, counted without weights where possible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from advcal_edge.calibrate.adapters import ADAPTERS, AdaptedModule, attach_parts, trainable
from advcal_edge.calibrate.config import AdapterConfig
from advcal_edge.encoders.blank import Blank, open_blank
from advcal_edge.encoders.operations import Operations, Pass, count_pass, count_training
from advcal_edge.errors import AdvcalError, ConfigError
from advcal_edge.spec import TensorSpec

Source = tuple[str, str, str | None]
"""Name of an encoder, modality, and path of the weights."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Operations of one sample through one encoder with one adapter."""

    frozen: Pass
    """Without the adapter."""
    adapted: Pass
    """With it, merged where it can be."""
    merging: float
    """Once per batch of an attack: the weights that the updates come to."""
    training: float
    """Forward, and gradients of all that is trained; of the adapter's head alone if it is trained on features."""
    trains: bool
    """Is there anything to train?"""


@lru_cache(maxsize=256)
def frozen_pass(source: Source) -> Pass:
    """Through the encoder as it came, for one sample.

    Raises:
        AdvcalError: an encoder that is unknown or cannot be opened, or whose passes cannot be counted.
    """
    blank = blank_of(source)
    with counting(source):
        model = AdaptedModule(blank.module())
        return count_pass(model, _inputs(model, blank.modality.input, 1))


@lru_cache(maxsize=256)
def passes_of(source: Source, adapter: AdapterConfig, batch: int, *, on_features: bool) -> Passes:
    """Through the encoder and an adapter, which is trained on `batch` inputs at a time, or on the trunk's features.

    Raises:
        AdvcalError: as for `frozen_pass`, or an adapter that does not fit the encoder.
    """
    blank, frozen = blank_of(source), frozen_pass(source)
    with counting(source):
        model = attach_parts(AdaptedModule(blank.module()), adapter, blank.embedding_dim, seed=0)
        model = model.to(_device(model))
        x = _inputs(model, blank.modality.input, batch)
        features = x.new_zeros(len(x), blank.embedding_dim)
        moving = trainable(model)
        training: float = 0
        if moving:
            train, seen = (model.readout, features) if on_features else (model, x)
            training = count_training(train, list(moving.values()), seen) / len(x)
        for parameter in moving.values():
            parameter.requires_grad_(False)
        merging = _merging(model)
        adapted = frozen
        if "prompt" in adapter.parts:
            with parametrize.cached():
                whole = count_pass(model, x[:1])
            adapted = Pass(whole.forward - merging, whole.both - merging)
        elif not all(ADAPTERS[part].merges for part in adapter.parts):
            head = count_pass(model.readout, features[:1])
            adapted = Pass(frozen.forward + head.forward, frozen.both + head.both)
    return Passes(frozen, adapted, merging, training, bool(moving))


@lru_cache(maxsize=256)
def blank_of(source: Source) -> Blank:
    """The encoder without its weights, or the opened one.

    Raises:
        AdvcalError: as for `open_blank`.
    """
    name, modality, weights = source
    return open_blank(name, modality, None if weights is None else Path(weights))


@contextmanager
def counting(source: Source) -> Iterator[None]:
    """Turn what code of others raises into an error that names the encoder.

    Raises:
        ConfigError: the passes cannot be counted.
    """
    try:
        yield
    except AdvcalError:
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")[:200]
        raise ConfigError(f"the passes of `{source[0]}` cannot be counted: {type(error).__name__}: {first}") from error


def _merging(model: AdaptedModule) -> int:
    with torch.no_grad(), Operations() as counted:
        for module in model.modules():
            if parametrize.is_parametrized(module):
                for weight in module.parametrizations.children():  # type: ignore[union-attr]
                    weight()
    return int(counted.total)


def _inputs(model: AdaptedModule, spec: TensorSpec, batch: int) -> Tensor:
    """Inputs (n, ...) in the middle of the bounds; a single one where numbers are computed."""
    device = _device(model)
    middle = sum(spec.bounds) / 2
    return torch.full((batch if device.type == "meta" else 1, *spec.shape), middle, device=device)


def _device(model: AdaptedModule) -> torch.device:
    return next((parameter.device for parameter in model.trunk.parameters()), torch.device("cpu"))
