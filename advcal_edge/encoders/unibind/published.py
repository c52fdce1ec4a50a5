"""One modality's share of a UniBind checkpoint: trunk, head, scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from advcal_edge.encoders.checkpoint import digest, load_exactly, read_tensors
from advcal_edge.encoders.imagebind.keys import logit_scale_name, of_tower
from advcal_edge.encoders.imagebind.sizes import TrunkConfig
from advcal_edge.encoders.imagebind.trunk import Trunk
from advcal_edge.encoders.unibind.head import Headed
from advcal_edge.encoders.unibind.point import PointTrunk
from advcal_edge.encoders.unibind.point_names import is_of_points
from advcal_edge.encoders.unibind.point_sizes import PointConfig
from advcal_edge.errors import InputError

TUNED, IMAGEBIND, HEAD = "backbone.", "bind.", "mlp_for_"
POINT_SCALE = f"{IMAGEBIND}modality_postprocessor_point.1.log_logit_scale"
TEXT_SCALE = IMAGEBIND + logit_scale_name("text")
MAX_LOGIT_SCALE = 100.0  # upstream clips it there


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """Tensors under the names they have without `backbone.`."""

    path: Path
    trunk: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    scale: float
    """Length of the modality's embeddings, before the head; 1 for those of images, videos and event frames."""

    text_scale: float

    @property
    def fingerprint(self) -> str:
        """Hash (sha256) of what the module computes with; the scale counts where there is a head behind it."""
        scale = {"scale": torch.tensor(self.scale)} if self.head else {}
        return digest({**self.trunk, **self.head, **scale})


def read_share(path: Path, modality: str, config: TrunkConfig | PointConfig) -> Share:
    """What the checkpoint at `path` holds for `modality`.

    Raises:
        InputError: unreadable, not UniBind's, fine-tuned for another modality, or without the text's logit scale.
    """
    scale = POINT_SCALE if isinstance(config, PointConfig) else IMAGEBIND + logit_scale_name(config.tower)

    def wanted(name: str) -> bool:
        plain = name.removeprefix(TUNED)
        return plain in (scale, TEXT_SCALE) or name.startswith(HEAD) or _of_trunk(plain, config)

    stored = read_tensors(path, wanted)
    tensors = {name.removeprefix(TUNED): tensor for name, tensor in stored.items()}
    heads = {name: tensors.pop(name) for name in sorted(tensors) if name.startswith(HEAD)}
    head = {name: tensor for name, tensor in heads.items() if name.startswith(f"{HEAD}{modality}.")}
    if not head and (heads or any(name.startswith(TUNED) for name in stored)):
        others = sorted({name.split(".")[0].removeprefix(HEAD) for name in heads})
        raise InputError(
            f"`{path}` is fine-tuned and has {'the head for ' + ', '.join(others) if others else 'no head'};"
            f" expected `{HEAD}{modality}.weight` and `.bias`",
            hint=f"`--modality {others[0]}`, or the checkpoint for {modality}" if others else None,
        )
    if TEXT_SCALE not in tensors:
        raise InputError(f"`{path}` has no `{TEXT_SCALE}`; expected UniBind's checkpoint, which holds all of ImageBind")
    text_scale = _scale(tensors.pop(TEXT_SCALE), TEXT_SCALE, path)
    own_scale = _scale(tensors.pop(scale), scale, path) if scale in tensors else 1.0
    return Share(path, tensors, head, own_scale, text_scale)


def assemble(share: Share, modality: str, config: TrunkConfig | PointConfig) -> nn.Module:
    """A frozen module whose parameters are these tensors.

    Raises:
        InputError: tensors are missing, left over, or of another shape.
    """
    where = f"`{share.path}`"
    with torch.device("meta"):
        trunk = PointTrunk(config) if isinstance(config, PointConfig) else Trunk(config)
        module = Headed(trunk, config.embedding_dim, share.scale) if share.head else trunk
    if isinstance(trunk, PointTrunk):
        trunk.load_upstream(share.trunk, where)
    else:
        trunk.load_upstream({name.removeprefix(IMAGEBIND): t for name, t in share.trunk.items()}, where)
    if isinstance(module, Headed):
        names = {name: f"{HEAD}{modality}.{name}" for name in ("weight", "bias")}
        load_exactly(module.linear, share.head, f"{where} for the head", names)
    return module.eval().requires_grad_(False)


def _of_trunk(name: str, config: TrunkConfig | PointConfig) -> bool:
    if isinstance(config, PointConfig):
        return is_of_points(name)
    return name.startswith(IMAGEBIND) and of_tower(name.removeprefix(IMAGEBIND), config.tower)


def _scale(logarithm: Tensor, name: str, path: Path) -> float:
    scale = float(logarithm.exp()) if logarithm.numel() == 1 else float("nan")
    if not 0 < scale < float("inf"):
        raise InputError(f"`{name}` in `{path}` is {logarithm}; expected one finite number")
    return min(scale, MAX_LOGIT_SCALE)
