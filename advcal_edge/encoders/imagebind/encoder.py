"""ImageBind as an `Encoder`: the input of each sensor, and how a checkpoint becomes a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge import spec
from advcal_edge.encoders.blank import Blank, on_meta
from advcal_edge.encoders.imagebind.published import (
    CHECKPOINT,
    EMBEDDING_DIM,
    HUGE,
    MAX_LOGIT_SCALE,
    TrunkConfig,
    logit_scale_name,
    of_tower,
)
from advcal_edge.encoders.weights_folder import FILES as STANDARD, find_weights, open_place
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.spec import Modality

if TYPE_CHECKING:
    from torch import Tensor, nn

LICENSE = "CC-BY-NC-SA-4.0"
FILES = (CHECKPOINT.rpartition("/")[2], *STANDARD)
DISPARITY = 75.0  # pixels of disparity that the depth trunk was trained on as 1

MODALITIES: Mapping[str, Modality] = {
    "image": spec.image(224),
    "video": spec.video(224, 2),
    "audio": spec.audio(128, 204).with_settings({"seconds": 2.0}),  # slightly shorter than 204 frames: upstream pads
    "thermal": spec.thermal(224),
    "depth": spec.depth(224).with_settings({"max_disparity_px": DISPARITY}),
    "imu": spec.imu(2000, 400.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Imagebind:
    """One frozen trunk of the user's copy of imagebind_huge; implements `Encoder`.

    Not for commercial use: this is the license of the weights, and of any engine made from them.
    """

    modality: Modality
    fingerprint: str
    weights: Path
    metadata: Mapping[str, Any]
    name: str = "imagebind"
    embedding_dim: int = EMBEDDING_DIM
    license: str = LICENSE

    @classmethod
    def load(cls, modality: str, weights: Path | None) -> Imagebind:
        """The trunk of `modality` in the checkpoint `weights`; no other trunk is read.

        Raises:
            ConfigError: there is no trunk for this modality, or no checkpoint was named.
            InputError: the checkpoint cannot be read, or does not hold exactly this trunk.
            DependencyError: torch is not installed.
        """
        _check(modality)
        if weights is None:
            raise ConfigError(
                "imagebind comes without weights, which may not be used commercially and are not ours to ship",
                hint=f"`--weights FILE`, the file being {CHECKPOINT}",
            )
        _require_torch()
        from advcal_edge.encoders.checkpoint import digest, read_checkpoint

        tower = HUGE[modality].tower
        scale = logit_scale_name(tower)
        checkpoint = read_checkpoint(find_file(weights), lambda name: of_tower(name, tower) or name == scale)
        tensors, metadata = checkpoint.tensors, dict[str, Any](checkpoint.metadata)
        logarithm = tensors.pop(scale, None)
        if logarithm is not None:
            metadata["logit_scale"] = min(float(logarithm.exp()), MAX_LOGIT_SCALE)
        _assemble(HUGE[modality], tensors, weights)  # so that errors are raised now, not during the work
        return cls(MODALITIES[modality], digest(tensors), weights, metadata)

    def centers(self) -> None:
        """None: centers are computed from prompts, with the text tower of the same checkpoint."""

    def module(self) -> nn.Module:
        """Physical x (n, ...) -> embedding (n, 1024), float32 on the CPU, in eval mode and without gradients.

        Raises:
            InputError: the checkpoint was replaced since `load` by one that does not fit.
        """
        from advcal_edge.encoders.checkpoint import read_tensors

        config = trunk_config(self.modality)
        tensors = read_tensors(find_file(self.weights), lambda name: of_tower(name, config.tower))
        return _assemble(config, tensors, self.weights)


def find_file(weights: Path) -> Path:
    """The checkpoint that `weights` leads to: itself, or the one of a folder, also in a hub's cache.

    Raises:
        InputError: a folder without a checkpoint.
    """
    place = open_place(weights)
    return find_weights(place, FILES) if place.is_dir() else place


def trunk_config(modality: Modality) -> TrunkConfig:
    """The published trunk of `modality`, with its statistics converted to the units of the sensor's settings."""
    config = HUGE[modality.name]
    if modality.name == "depth":
        unit = DISPARITY / modality.number("max_disparity_px")
        return replace(config, mean=tuple(unit * m for m in config.mean), std=tuple(unit * s for s in config.std))
    if modality.name == "imu":
        scales = (modality.number("accel_full_scale"),) * 3 + (modality.number("gyro_full_scale"),) * 3
        return replace(config, std=tuple(1 / scale for scale in scales))
    return config


def blank(modality: str, weights: Path | None = None) -> Blank:
    """The trunk of `modality` without its weights.

    Raises:
        ConfigError: there is no trunk for this modality.
        DependencyError: torch is not installed.
    """
    _check(modality)
    _require_torch()
    from advcal_edge.encoders.imagebind.trunk import build

    return Blank(MODALITIES[modality], EMBEDDING_DIM, on_meta(lambda: build(modality)), brings_centers=False)


def _check(modality: str) -> None:
    if modality not in MODALITIES:
        raise ConfigError(
            f"imagebind has no trunk for the modality `{modality}`", hint=f"there is: {', '.join(MODALITIES)}"
        )


def _assemble(config: TrunkConfig, tensors: Mapping[str, Tensor], weights: Path) -> nn.Module:
    """A frozen trunk with these tensors as its parameters, without a second copy."""
    import torch

    from advcal_edge.encoders.imagebind.trunk import Trunk

    with torch.device("meta"):
        trunk = Trunk(config)
    trunk.load_upstream(tensors, f"`{weights}`")
    return trunk.eval().requires_grad_(False)


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise DependencyError("torch", extra="calibrate", purpose="the encoder imagebind")
