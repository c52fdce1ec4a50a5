"""Trainable parts around or inside a frozen encoder; importing this package registers them all."""

from advcal_edge.calibrate.adapters import head, lora, offsets, prompt, stem_filter
from advcal_edge.calibrate.adapters.base import (
    ADAPTERS,
    AdaptedModule,
    CleanInputs,
    Part,
    attach_adapter,
    attach_parts,
    embed_all,
    merge,
    trainable,
)
from advcal_edge.calibrate.adapters.stored import Adapter

__all__ = [
    "ADAPTERS",
    "AdaptedModule",
    "Adapter",
    "CleanInputs",
    "Part",
    "attach_adapter",
    "attach_parts",
    "embed_all",
    "head",
    "lora",
    "merge",
    "offsets",
    "prompt",
    "stem_filter",
    "trainable",
]
