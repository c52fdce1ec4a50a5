"""Read `config.json` of a published folder: the sizes of both towers.

Defaults and precedence are those of LanguageBind's own reader.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from advcal_edge import limits
from advcal_edge.documents import read_object
from advcal_edge.errors import InputError

MODEL_TYPES = {
    "image": "LanguageBindImage",
    "video": "LanguageBindVideo",
    "audio": "LanguageBindAudio",
    "depth": "LanguageBindDepth",
    "thermal": "LanguageBindThermal",
}

ACTIVATIONS = ("gelu", "quick_gelu")

TEXT_DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
}

VISION_DEFAULTS: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "add_time_attn": False,
    "num_frames": 1,
    "lora_r": 2,
    "lora_alpha": 16,
    "num_mel_bins": 0,
    "target_length": 0,
    "max_depth": 10,
    "audio_sample_rate": 16000,
    "audio_mean": 0.5,
    "audio_std": 0.5,
}

PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "video": {"add_time_attn": True, "num_frames": 8},
    "audio": {"num_mel_bins": 126, "target_length": 1036},
}
"""What differs by modality in the published folders, as the scripts that trained them say; all are CLIP's ViT-L/14."""

VIT_LARGE: Mapping[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
}
PROJECTION = 768

MOST = 2**18  # limit of any count; the largest in the published files is a vocabulary of 49,408
DEEPEST = 1024  # limit of layers: each is built, in Python, before its weights are read


@dataclass(frozen=True, slots=True)
class Transformer:
    """Sizes of both towers."""

    width: int
    hidden: int
    depth: int
    heads: int
    activation: str
    norm_eps: float


@dataclass(frozen=True, slots=True)
class TextSizes:
    """The text tower."""

    transformer: Transformer
    vocabulary: int
    context: int


@dataclass(frozen=True, slots=True)
class VisionSizes:
    """The tower of a sensor: a grid of patches, and settings of its modality."""

    transformer: Transformer
    height: int
    width: int
    patch: int
    frames: int
    time_attention: bool
    time_mlp: bool
    class_token_a_frame: bool
    lora_rank: int
    lora_alpha: float
    max_depth: float
    sample_rate: float
    audio_mean: float
    audio_std: float

    @property
    def tokens(self) -> int:
        """Patches of one frame and the class token."""
        return (self.height // self.patch) * (self.width // self.patch) + 1


@dataclass(frozen=True, slots=True)
class Configuration:
    """One folder."""

    modality: str
    embedding_dim: int
    text: TextSizes
    vision: VisionSizes


def read_configuration(folder: Path) -> Configuration:
    """Read `config.json` in `folder`.

    Raises:
        InputError: missing, not that of a LanguageBind model, or with unsupported settings.
    """
    path = folder / "config.json"
    if not folder.is_dir():
        raise InputError(
            f"`{folder}` is no folder; expected one with `config.json` and the weights of a modality",
            hint="give the folder of a published modality with `--weights`",
        )
    if not path.exists():
        raise InputError(
            f"`{folder}` has no `config.json`, which says how large the model is", hint="download the whole folder"
        )
    data = read_object(path, limits.DOCUMENT_BYTES, InputError, hint="download it again")
    named = data.get("model_type")
    modality = next((name for name, model_type in MODEL_TYPES.items() if model_type == named), None)
    if modality is None:
        known = ", ".join(f"`{model_type}`" for model_type in MODEL_TYPES.values())
        raise InputError(
            f"`{path}` is of the model type {str(named)[:80]!r}; expected one of: {known}",
            hint="give the folder of a published modality with `--weights`",
        )
    fields = Fields(path, {"projection_dim": 512} | data)
    return Configuration(
        modality,
        fields.count("projection_dim"),
        _text(Fields(path, _effective(path, data, "text_config", TEXT_DEFAULTS))),
        _vision(Fields(path, _effective(path, data, "vision_config", VISION_DEFAULTS)), modality),
    )


def published_configuration(modality: str) -> Configuration:
    """The sizes of a published folder that is not there; what its `config.json` says is what counts."""
    path = Path(MODEL_TYPES[modality]) / "config.json"
    vision = Fields(path, {**VISION_DEFAULTS, **VIT_LARGE, **PUBLISHED.get(modality, {})})
    text = Fields(path, {**TEXT_DEFAULTS, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12})
    return Configuration(modality, PROJECTION, _text(text), _vision(vision, modality))


def _effective(path: Path, data: Mapping[str, Any], part: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """One tower's fields; the older `..._dict`, if given, and its defaults take precedence."""
    plain, older = data.get(part) or {}, data.get(f"{part}_dict")
    for section in (plain, older or {}):
        if not isinstance(section, dict):
            raise InputError(
                f"`{part}` in `{path}` is {str(section)[:80]}; expected an object with the sizes of a tower"
            )
    return {**defaults, **plain} if older is None else {**plain, **defaults, **older}


def _text(fields: Fields) -> TextSizes:
    return TextSizes(_transformer(fields), fields.count("vocab_size"), fields.count("max_position_embeddings"))


def _vision(fields: Fields, modality: str) -> VisionSizes:
    height, width = fields.size("image_size")
    mels, length = fields.count("num_mel_bins", least=0), fields.count("target_length", least=0)
    if modality != "video" and mels and length:
        height, width = mels, length
    elif modality == "audio":
        fields.refuse("num_mel_bins", "a number of mel bands, and `target_length` a number of frames")
    patch, frames, timed = fields.count("patch_size"), fields.count("num_frames"), bool(fields.values["add_time_attn"])
    if min(height, width) < patch:
        fields.refuse("patch_size", f"at most the input, {height} x {width}")
    if fields.count("num_channels") != 3:
        fields.refuse("num_channels", "3")
    if modality == "video" and not timed:
        fields.refuse("add_time_attn", "true, as in every video model of LanguageBind")
    if modality != "video":
        if timed and frames != 1:  # upstream would mix the samples of a batch
            fields.refuse("num_frames", f"1 for {modality} with attention over time")
        frames = 1
    per_frame = modality == "video" and fields.values.get("clip_type") == "vl_new"
    if per_frame and fields.values.get("tube_size", 1) != 1:
        fields.refuse("tube_size", "1")
    return VisionSizes(
        transformer=_transformer(fields),
        height=height,
        width=width,
        patch=patch,
        frames=frames,
        time_attention=timed,
        time_mlp=timed and modality != "video",
        class_token_a_frame=per_frame,
        lora_rank=fields.count("lora_r", least=0),
        lora_alpha=fields.number("lora_alpha"),
        max_depth=fields.number("max_depth", positive=modality == "depth"),
        sample_rate=fields.number("audio_sample_rate", positive=modality == "audio"),
        audio_mean=fields.number("audio_mean"),
        audio_std=fields.number("audio_std", positive=modality == "audio"),
    )


def _transformer(fields: Fields) -> Transformer:
    width, heads = fields.count("hidden_size"), fields.count("num_attention_heads")
    if width % heads:
        fields.refuse("num_attention_heads", f"a divisor of `hidden_size` {width}")
    if fields.values["hidden_act"] not in ACTIVATIONS:
        fields.refuse("hidden_act", " or ".join(f"`{name}`" for name in ACTIVATIONS))
    return Transformer(
        width=width,
        hidden=fields.count("intermediate_size"),
        depth=fields.count("num_hidden_layers", most=DEEPEST),
        heads=heads,
        activation=str(fields.values["hidden_act"]),
        norm_eps=fields.number("layer_norm_eps", positive=True),
    )


@dataclass(frozen=True, slots=True)
class Fields:
    """One object of the file at `path`, with its defaults."""

    path: Path
    values: Mapping[str, Any]

    def refuse(self, name: str, expected: str) -> NoReturn:
        """Raise an InputError with a field's value and the expected one."""
        value = repr(self.values.get(name))[:80]
        raise InputError(f"`{name}` in `{self.path}` is {value}; expected {expected}", hint="download the folder again")

    def number(self, name: str, *, positive: bool = False) -> float:
        """A finite number, optionally above zero."""
        value = self.values[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self.refuse(name, "a number")
        if positive and not value > 0:
            self.refuse(name, "a number above zero")
        return float(value)

    def count(self, name: str, *, least: int = 1, most: int = MOST) -> int:
        """A whole number, which upstream's files may write as 0.0."""
        value = self.number(name)
        if value != int(value) or not least <= value <= most:
            self.refuse(name, f"a whole number from {least} to {most}")
        return int(value)

    def size(self, name: str) -> tuple[int, int]:
        """Height and width: one number for both, or a list of two."""
        value = self.values[name]
        if isinstance(value, list) and len(value) == 2:
            height, width = (Fields(self.path, {name: side}).count(name) for side in value)
            return height, width
        return self.count(name), self.count(name)
