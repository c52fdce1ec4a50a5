"""The adapter in a bundle: a safetensors file with everything that turns the frozen encoder into the calibrated one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from advcal_edge.calibrate.adapters.base import AdaptedModule, Part, fixed, trainable
from advcal_edge.calibrate.config import AdapterConfig
from advcal_edge.config import Layer, resolve
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.tensors import Complaint, open_tensors

NO_ADAPTER = Complaint(BundleError, "holds no adapter", "calibrate again")


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """Tensors of the parts by name, the settings that say where they belong, and how many numbers are of which kind."""

    config: AdapterConfig
    state: Mapping[str, Tensor]
    embedding_dim: int
    parameters: int
    """Number of trained numbers."""
    estimated: int
    """Number of the encoder's numbers that were replaced by estimates, without training."""
    encoder_parameters: int

    @classmethod
    def of(cls, model: AdaptedModule, config: AdapterConfig, embedding_dim: int) -> Adapter:
        """Copy what the parts of `model` hold."""
        trained = trainable(model)
        state = {name: value.detach().cpu().clone() for name, value in {**trained, **fixed(model)}.items()}
        estimates = [part for part in model.modules() if isinstance(part, Part) and part.estimated]
        return cls(
            config,
            state,
            embedding_dim,
            sum(value.numel() for value in trained.values()),
            sum(value.numel() for part in estimates for value in part.buffers(recurse=False)),
            model.encoder_parameters,
        )

    def fill(self, model: AdaptedModule) -> None:
        """Copy the stored numbers into the parts of `model`.

        Raises:
            BundleError: they do not fit.
        """
        slots: dict[str, Tensor] = {**trainable(model), **fixed(model)}
        stored = {name: tuple(value.shape) for name, value in self.state.items()}
        expected = {name: tuple(value.shape) for name, value in slots.items()}
        if stored != expected:
            odd = sorted(name for name in stored.keys() | expected.keys() if stored.get(name) != expected.get(name))
            raise BundleError(
                f"the adapter does not fit the encoder at `{odd[0]}`:"
                f" found {stored.get(odd[0])}, expected {expected.get(odd[0])}; {len(odd)} such places",
                hint="calibrate again with this version of the encoder",
            )
        with torch.no_grad():
            for name, slot in slots.items():
                slot.copy_(self.state[name])

    @property
    def kind(self) -> str:
        """Its parts joined by `+`."""
        return self.config.kind

    @property
    def trainable_fraction(self) -> float:
        """Trained parameters / parameters of the frozen encoder."""
        return self.parameters / self.encoder_parameters

    @property
    def estimated_fraction(self) -> float:
        """Numbers of the encoder that were replaced by estimates / parameters of the frozen encoder."""
        return self.estimated / self.encoder_parameters

    def to_bytes(self) -> bytes:
        """As a safetensors file; everything except the tensors is in its metadata."""
        about = {
            "config": asdict(self.config),
            "embedding_dim": self.embedding_dim,
            "parameters": self.parameters,
            "estimated": self.estimated,
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
        counts = [about.get(name) for name in ("embedding_dim", "encoder_parameters", "parameters", "estimated")]
        dim, encoder, trained, estimated = (count if type(count) is int else -1 for count in counts)
        if dim < 1 or encoder < 1 or trained < 0 or estimated < 0 or not isinstance(about.get("config"), dict):
            raise NO_ADAPTER.of(path, "expected `config`, and counts of the numbers in it and in the encoder")
        if trained + estimated > sum(value.numel() for value in state.values()):
            raise NO_ADAPTER.of(path, f"it claims {trained + estimated:,} numbers, more than its tensors hold")
        if odd := [name for name, value in state.items() if not value.is_floating_point()]:
            raise NO_ADAPTER.of(path, f"`{odd[0]}` is {state[odd[0]].dtype}; expected numbers of floating point")
        try:
            config = resolve(AdapterConfig, [Layer("its config", about["config"])])
        except ConfigError as error:
            raise NO_ADAPTER.of(path, error.message) from error
        largest = max((size for value in state.values() if value.numel() for size in value.shape), default=0)
        if "head" in config.parts and dim > largest:  # a head is built before its tensors are checked
            raise NO_ADAPTER.of(path, f"`embedding_dim` {dim} is larger than any of its tensors")
        return cls(config, state, dim, trained, estimated, encoder)
