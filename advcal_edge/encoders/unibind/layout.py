"""Which files of UniBind's repository belong to a modality."""

from __future__ import annotations

from pathlib import Path

from advcal_edge.errors import InputError

PRETRAINED = Path("ckpts/pretrained_weights.pt")
SITE = "https://github.com/QC-LY/UniBind"


def find_checkpoint(weights: Path, modality: str) -> Path:
    """The checkpoint of `modality`: `weights` itself, or in that folder the fine-tuned one, or else the published one.

    Raises:
        InputError: there is nothing of that name, no checkpoint in the folder, or several fine-tuned ones.
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
    """The centre embeddings of `modality` beside the checkpoint; None where there are none.

    Raises:
        InputError: several, or a pickle that was not converted.
    """
    folder = _root(weights) / "centre_embs"
    stem = f"{modality}_*_center_embeddings"
    found = sorted(path for ending in (".pt", ".safetensors") for path in folder.glob(stem + ending))
    if len(found) > 1:
        raise InputError(
            f"`{folder}` has {len(found)} files of centers for {modality}; expected one: {_listed(found)}",
            hint="keep those of one data set there",
        )
    if not found:
        for path in sorted(folder.glob(f"{stem}.pkl")):
            raise InputError(
                f"`{path}` is a pickle, which can run code; expected a dictionary of tensors, so it was not opened",
                hint=f"if you trust its authors, convert it: `{_conversion(path)}`",
            )
    return found[0] if found else None


def _root(weights: Path) -> Path:
    """The checkout that a checkpoint lies in."""
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
