"""UniBind as an `Encoder`: the input of each sensor, and how a checkpoint becomes a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advcal_edge import spec
from advcal_edge.centers import Centers
from advcal_edge.encoders.blank import Blank, on_meta
from advcal_edge.encoders.imagebind.encoder import MODALITIES as OF_IMAGEBIND
from advcal_edge.encoders.imagebind.published import HUGE, TrunkConfig
from advcal_edge.encoders.unibind.point_config import PointConfig
from advcal_edge.errors import ConfigError, DependencyError
from advcal_edge.spec import Modality

if TYPE_CHECKING:
    from torch import nn

LICENSE = "MIT AND CC-BY-NC-SA-4.0"
"""Licenses of UniBind's repository, and of ImageBind, whose weights its checkpoints contain."""

MODALITIES: Mapping[str, Modality] = {
    **{name: OF_IMAGEBIND[name] for name in ("image", "video", "audio", "thermal")},
    "event": spec.event(224),
    "point": spec.point(PointConfig().points),
}

CONFIGS: Mapping[str, TrunkConfig | PointConfig] = {
    **{name: HUGE[name] for name in ("image", "video", "audio")},
    "thermal": replace(HUGE["thermal"], mean=(0.5,), std=(0.5,)),
    "event": HUGE["image"],
    "point": PointConfig(),
}
"""With the statistics of UniBind's own loaders: event frames are read like images, thermal ones go to [-1, 1]."""


@dataclass(frozen=True, slots=True, eq=False)
class Unibind:
    """One frozen trunk of the user's copy of UniBind, with its head if it was fine-tuned; implements `Encoder`.

    Not for commercial use: this is the license of ImageBind's weights, and of any engine made from them.
    """

    modality: Modality
    fingerprint: str
    weights: Path
    checkpoint: Path
    """The file that `weights` led to on loading, since a folder may get another checkpoint later."""

    metadata: Mapping[str, Any]
    config: TrunkConfig | PointConfig
    name: str = "unibind"
    license: str = LICENSE

    @property
    def embedding_dim(self) -> int:
        """Width d of the embedding space."""
        return self.config.embedding_dim

    @classmethod
    def load(cls, modality: str, weights: Path | None, config: TrunkConfig | PointConfig | None = None) -> Unibind:
        """The trunk of `modality` in the folder or checkpoint `weights`, of the published size without a `config`.

        Raises:
            ConfigError: there is no trunk for this modality, or no weights were named.
            InputError: the checkpoint cannot be read, or does not hold exactly this trunk and head.
            DependencyError: torch is not installed.
        """
        _check(modality)
        if weights is None:
            raise ConfigError(
                "unibind comes without weights, which may not be used commercially and are not ours to ship",
                hint="`--weights FOLDER`, the folder being a checkout of https://github.com/QC-LY/UniBind with weights",
            )
        _require_torch()
        from advcal_edge.encoders.unibind.published import assemble, find_checkpoint, read_part

        config = config or CONFIGS[modality]
        checkpoint = find_checkpoint(weights, modality)
        part = read_part(checkpoint, modality, config)
        assemble(part, modality, config)  # so that errors are raised now, not during the work
        metadata = {
            "checkpoint": checkpoint.name,
            "head": bool(part.head),
            "logit_scale": part.scale,
            "text_logit_scale": part.text_scale,
            **({"notes": list(part.notes)} if part.notes else {}),
        }
        sensor = _resized(MODALITIES[modality], config)
        return cls(sensor, part.fingerprint, weights, checkpoint, metadata, config)

    def centers(self) -> Centers | None:
        """The published centers (k, c, d), several per class; None if the folder has none for this modality.

        Raises:
            InputError: a pickle, several files, or a file without centers.
        """
        from advcal_edge.encoders.unibind.published import find_centre_embeddings, read_centre_embeddings

        path = find_centre_embeddings(self.weights, self.modality.name)
        if path is None:
            return None
        return read_centre_embeddings(path, self.embedding_dim, 1 / self.metadata["text_logit_scale"])

    def module(self) -> nn.Module:
        """Physical x (n, ...) -> embedding (n, 1024), float32 on the CPU, in eval mode and without gradients.

        Raises:
            InputError: the checkpoint was replaced since `load` by one that does not fit.
        """
        from advcal_edge.encoders.unibind.published import assemble, read_part

        name = self.modality.name
        part = read_part(self.checkpoint, name, self.config)
        return assemble(part, name, self.config)


def blank(modality: str, weights: Path | None = None) -> Blank:
    """The trunk of `modality` in its published size without its weights, and without the head of a fine-tuned one.

    Raises:
        ConfigError: there is no trunk for this modality.
        InputError: `weights` is a folder whose centers cannot be used.
        DependencyError: torch is not installed.
    """
    _check(modality)
    _require_torch()
    from advcal_edge.encoders.imagebind.trunk import Trunk
    from advcal_edge.encoders.unibind.point import PointTrunk
    from advcal_edge.encoders.unibind.published import find_centre_embeddings

    config = CONFIGS[modality]
    there = weights is not None and weights.exists() and find_centre_embeddings(weights, modality) is not None
    return Blank(
        MODALITIES[modality],
        config.embedding_dim,
        on_meta(lambda: PointTrunk(config) if isinstance(config, PointConfig) else Trunk(config)),
        brings_centers=there,
    )


def _check(modality: str) -> None:
    if modality not in MODALITIES:
        raise ConfigError(
            f"unibind has no trunk for the modality `{modality}`", hint=f"there is: {', '.join(MODALITIES)}"
        )


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise DependencyError("torch", extra="calibrate", purpose="the encoder unibind")


def _resized(modality: Modality, config: TrunkConfig | PointConfig) -> Modality:
    """The sensor with the trunk's input size."""
    shape = (config.points, 3) if isinstance(config, PointConfig) else config.shape
    return replace(modality, input=replace(modality.input, shape=shape))
