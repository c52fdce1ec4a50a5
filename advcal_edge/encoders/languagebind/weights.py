"""Tensors of a published folder under plain names, with low-rank updates (arXiv:2106.09685) added to the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from advcal_edge.encoders.checkpoint import Checkpoint, read_checkpoint
from advcal_edge.encoders.languagebind.configuration import VisionSizes
from advcal_edge.encoders.weights_folder import find_weights
from advcal_edge.errors import InputError

DOWN, UP = ".lora_A.default.weight", ".lora_B.default.weight"
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")
PERCEPTRON = ("fc1", "fc2")


def read_plain(folder: Path, wanted: Callable[[str], bool]) -> Checkpoint:
    """The wanted tensors of `folder`, without peft's wrappers in their names and without constant position numbers.

    Raises:
        InputError: the weights cannot be read or hold no wanted tensor.
    """
    found = read_checkpoint(find_weights(folder), lambda name: wanted(name) and not name.endswith(".position_ids"))
    return Checkpoint({plain_name(name): tensor for name, tensor in found.tensors.items()}, found.notes)


def plain_name(name: str) -> str:
    """A tensor's name without peft's parts."""
    return name.replace(".encoder.base_model.model.", ".encoder.").replace(".base_layer.", ".")


def take(tensors: dict[str, Tensor], name: str, folder: Path) -> Tensor:
    """Remove one tensor.

    Raises:
        InputError: it is missing.
    """
    if name not in tensors:
        raise InputError(f"the weights in `{folder}` lack `{name}`")
    return tensors.pop(name)


def merge_updates(tensors: dict[str, Tensor], sizes: VisionSizes, folder: Path) -> None:
    """Replace W by W + (alpha / r) B A wherever the checkpoint has A (r, i) and B (o, r), in place.

    Raises:
        InputError: updates are missing, not declared in `config.json`, or have another shape.
    """
    expected = updated_maps(sizes)
    updates = {name.removesuffix(end) for name in tensors for end in (DOWN, UP) if name.endswith(end)}
    if updates - expected:
        raise InputError(
            f"the weights in `{folder}` hold low-rank updates of {len(updates - expected)} maps that `config.json`"
            f" (rank {sizes.lora_rank}) does not have, such as `{min(updates - expected)}`"
        )
    for name in sorted(expected):
        down, up = take(tensors, name + DOWN, folder), take(tensors, name + UP, folder)
        weight = take(tensors, f"{name}.weight", folder)
        shapes = (sizes.lora_rank, weight.shape[-1]), (weight.shape[0], sizes.lora_rank)
        if (tuple(down.shape), tuple(up.shape)) != shapes:
            raise InputError(
                f"the low-rank update of `{name}` in `{folder}` is {tuple(down.shape)} and {tuple(up.shape)};"
                f" expected {shapes[0]} and {shapes[1]} from `lora_r` in `config.json`"
            )
        tensors[f"{name}.weight"] = weight.addmm_(up, down, alpha=sizes.lora_alpha / sizes.lora_rank)


def updated_maps(sizes: VisionSizes) -> set[str]:
    """The linear maps with an update: those of attention over time or, without it, within a frame."""
    if not sizes.lora_rank:
        return set()
    block = "temporal_attn" if sizes.time_attention else "self_attn"
    maps = {f"{block}.{projection}" for projection in PROJECTIONS}
    if sizes.time_mlp:
        maps |= {f"temporal_mlp.{linear}" for linear in PERCEPTRON}
    return {
        f"vision_model.encoder.layers.{layer}.{linear}" for layer in range(sizes.transformer.depth) for linear in maps
    }
