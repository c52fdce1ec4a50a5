"""What `config.json` of a published folder says, with the defaults and the precedence of LanguageBind's own reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advcal_edge import limits
from advcal_edge.documents import read_object
from advcal_edge.encoders.languagebind.fields import DEEPEST, Fields
from advcal_edge.encoders.languagebind.sizes import Configuration, TextSizes, Transformer, VisionSizes
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


def read_configuration(folder: Path) -> Configuration:
    """Read `config.json` in `folder`.

    Raises:
        InputError: there is none, it is not that of a LanguageBind model, or asks for what is not supported.
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
    found = data.get("model_type")
    modality = next((name for name, model_type in MODEL_TYPES.items() if model_type == found), None)
    if modality is None:
        known = ", ".join(f"`{model_type}`" for model_type in MODEL_TYPES.values())
        raise InputError(
            f"`{path}` is of the model type {str(found)[:80]!r}; expected one of: {known}",
            hint="give the folder of a published modality with `--weights`",
        )
    fields = Fields(path, {"projection_dim": 512} | data)
    return Configuration(
        modality,
        fields.count("projection_dim"),
        _text(Fields(path, _effective(path, data, "text_config", TEXT_DEFAULTS))),
        _vision(Fields(path, _effective(path, data, "vision_config", VISION_DEFAULTS)), modality),
    )


def _effective(path: Path, data: Mapping[str, Any], part: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """One tower's fields; where the older `..._dict` is given, it and the defaults of what it leaves out win."""
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
