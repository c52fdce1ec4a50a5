"""UniBind's published files: those of each modality, its part of a checkpoint, and its centre embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.centers import Centers
from advcal_edge.encoders.checkpoint import digest, load_exactly, read_checkpoint, read_tensors
from advcal_edge.encoders.imagebind.published import TrunkConfig, logit_scale_name, of_tower
from advcal_edge.encoders.imagebind.trunk import Trunk
from advcal_edge.encoders.unibind.point import PointTrunk
from advcal_edge.encoders.unibind.point_config import PointConfig, is_of_points
from advcal_edge.errors import InputError

TUNED, IMAGEBIND, HEAD = "backbone.", "bind.", "mlp_for_"
POINT_SCALE = f"{IMAGEBIND}modality_postprocessor_point.1.log_logit_scale"
TEXT_SCALE = IMAGEBIND + logit_scale_name("text")
MAX_LOGIT_SCALE = 100.0  # upstream's limit
PRETRAINED = Path("ckpts/pretrained_weights.pt")
SITE = "https://github.com/QC-LY/UniBind"
SOFTNESS = 1.0
"""In losses a class is as likely as all its centers together; missing centers are filled by repetition."""


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointPart:
    """Tensors of one modality, under their names without `backbone.`: trunk, head, scales."""

    path: Path
    trunk: Mapping[str, Tensor]
    head: Mapping[str, Tensor]
    scale: float
    """Length of the modality's embeddings, before the head; 1 for images, videos and event frames."""

    text_scale: float
    notes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Hash (sha256) of the tensors that the module uses; the scale counts only with a head after it."""
        scale = {"scale": torch.tensor(self.scale)} if self.head else {}
        return digest({**self.trunk, **self.head, **scale})


def read_part(path: Path, modality: str, config: TrunkConfig | PointConfig) -> CheckpointPart:
    """The tensors of `modality` in the checkpoint at `path`.

    Raises:
        InputError: unreadable, not UniBind's, fine-tuned for another modality, or without the text's logit scale.
    """
    scale = POINT_SCALE if isinstance(config, PointConfig) else IMAGEBIND + logit_scale_name(config.tower)

    def wanted(name: str) -> bool:
        plain = name.removeprefix(TUNED)
        return plain in (scale, TEXT_SCALE) or name.startswith(HEAD) or _of_trunk(plain, config)

    checkpoint = read_checkpoint(path, wanted)
    stored = checkpoint.tensors
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
    return CheckpointPart(path, tensors, head, own_scale, text_scale, checkpoint.notes)


def assemble(part: CheckpointPart, modality: str, config: TrunkConfig | PointConfig) -> nn.Module:
    """A frozen module with these tensors as parameters.

    Raises:
        InputError: tensors are missing, left over, or of another shape.
    """
    where = f"`{part.path}`"
    with torch.device("meta"):
        trunk = PointTrunk(config) if isinstance(config, PointConfig) else Trunk(config)
        module = LinearHead(trunk, config.embedding_dim, part.scale) if part.head else trunk
    if isinstance(trunk, PointTrunk):
        trunk.load_upstream(part.trunk, where)
    else:
        trunk.load_upstream({name.removeprefix(IMAGEBIND): t for name, t in part.trunk.items()}, where)
    if isinstance(module, LinearHead):
        names = {name: f"{HEAD}{modality}.{name}" for name in ("weight", "bias")}
        load_exactly(module.linear, part.head, f"{where} for the head", names)
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


class LinearHead(nn.Module):
    """x (n, ...) to z = W (s h / |h|) + b (n, d), with h the trunk's output and s ImageBind's scale of the modality.

    The scale matters because of the bias: audio has length twenty, thermal ten.
    """

    def __init__(self, trunk: nn.Module, embedding_dim: int, scale: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.scale = scale
        self.linear = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.linear(self.scale * F.normalize(self.trunk(x), dim=-1))
        return z


def find_checkpoint(weights: Path, modality: str) -> Path:
    """The checkpoint of `modality`: `weights` itself, or the fine-tuned one in that folder, else the published one.

    Raises:
        InputError: no such path, no checkpoint in the folder, or several fine-tuned ones.
    """
    if not weights.is_dir():
        if not weights.exists():
            raise InputError(f"there is no file or folder `{weights}`")
        return weights
    tuned = sorted(weights.glob(f"outputs/*/{modality}_model_best.pt"))
    if len(tuned) > 1:
        raise InputError(
            f"`{weights}` has {len(tuned)} fine-tuned checkpoints for {modality}; expected one: {_listed(tuned)}",
            hint=f"`--weights {tuned[0]}`",
        )
    if tuned:
        return tuned[0]
    if not (weights / PRETRAINED).is_file():
        raise InputError(
            f"`{weights}` holds no `{PRETRAINED}` and no `outputs/RUN/{modality}_model_best.pt`",
            hint=f"the folder is a checkout of {SITE}, whose README says where the weights are",
        )
    return weights / PRETRAINED


def find_centre_embeddings(weights: Path, modality: str) -> Path | None:
    """The centre embeddings of `modality` beside the checkpoint; None if there are none.

    Raises:
        InputError: several, or a pickle that was not converted.
    """
    folder = _root(weights) / "centre_embs"
    stem = f"{modality}_*_center_embeddings"
    files = sorted(path for ending in (".pt", ".safetensors") for path in folder.glob(stem + ending))
    if len(files) > 1:
        raise InputError(
            f"`{folder}` has {len(files)} files of centers for {modality}; expected one: {_listed(files)}",
            hint="keep those of one data set there",
        )
    if not files:
        for path in sorted(folder.glob(f"{stem}.pkl")):
            raise InputError(
                f"`{path}` is a pickle, which can run code; expected a dictionary of tensors, so it was not opened",
                hint=f"if you trust its authors, convert it: `{_conversion(path)}`",
            )
    return files[0] if files else None


def _root(weights: Path) -> Path:
    """The checkout that contains a checkpoint."""
    if weights.is_dir():
        return weights
    above = weights.absolute().parents
    return above[2] if len(above) > 2 and above[1].name == "outputs" else above[min(1, len(above) - 1)]


def _conversion(path: Path) -> str:
    new = path.with_suffix(".pt")
    state = "{str(k): v.detach().float().cpu() for k, v in pickle.load(open(old, 'rb')).items()}"
    return f'python -c "import pickle, torch; old = {str(path)!r}; torch.save({state}, {str(new)!r})"'


def _listed(paths: list[Path]) -> str:
    return ", ".join(f"`{path}`" for path in paths)


def read_centre_embeddings(path: Path, embedding_dim: int, temperature: float) -> Centers:
    """Centers (k, c, d) of unit norm, sorted by class name, from a dictionary class -> tensor (c, d).

    Raises:
        InputError: unreadable, other shapes, a center of length zero, or fewer than two classes.
    """
    classes = {label: tensor.numpy() for label, tensor in sorted(read_tensors(path, lambda _: True).items())}
    for label, vectors in classes.items():
        if vectors.ndim != 2 or vectors.shape[1] != embedding_dim or len(vectors) == 0 or vectors.dtype != np.float32:
            raise InputError(
                f"`{label}` in `{path}` is {vectors.dtype} {vectors.shape};"
                f" expected float32 (c, {embedding_dim}), a center a row"
            )
        lengths = np.linalg.norm(vectors, axis=1)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise InputError(f"`{label}` in `{path}` has a center that is zero or not finite")
    most = max(len(vectors) for vectors in classes.values())
    stacked = np.stack([np.resize(vectors, (most, embedding_dim)) for vectors in classes.values()])
    unit = stacked / np.linalg.norm(stacked, axis=-1, keepdims=True)
    return Centers(tuple(classes), unit, temperature, f"UniBind's centre embeddings, `{path.name}`", SOFTNESS)
