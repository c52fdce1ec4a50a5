"""Run by an interpreter that has LanguageBind: a model at random weights, its folder as published, what it computes.

    python languagebind_upstream.py CASE.json FOLDER

CASE.json: modality, the sections of `config.json`, `format` (`bin` or `safetensors`), `names` of updated weights (`old`
as the first peft wrote them, or `new` with `base_layer`), `batch`, `prompts`. FOLDER receives the published files and
`expected.safetensors`: pixel_values, image_embeds, input_ids, text_embeds.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file

START, END = "<|startoftext|>", "<|endoftext|>"
SENTENCES = "a photo of a cat the thermal image of a person walking at night an engine is idling here and there"


def upstream(module: str) -> Any:
    """A module of LanguageBind, without its `__init__`, which wants video and audio decoders."""
    if "languagebind" not in sys.modules:
        found = importlib.util.find_spec("languagebind")
        assert found is not None
        package = ModuleType("languagebind")
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules["languagebind"] = package
    return importlib.import_module(f"languagebind.{module}")


def randomise(model: torch.nn.Module) -> None:
    """Every parameter drawn anew, updates included, at scales that keep activations near one."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        draw = torch.empty_like(parameter).normal_(generator=generator)
        if name == "logit_scale":
            draw = draw.abs() + 2
        elif "norm" in name:
            draw = 0.2 * draw + (1.0 if name.endswith("weight") else 0.0)
        elif "lora_B" in name:
            draw = 0.1 * draw
        elif draw.ndim > 1 and "embedding.weight" not in name.replace("patch_embedding", ""):
            draw = draw * (0.02 if "temporal_embedding" in name else draw[0].numel() ** -0.5)
        else:
            draw = 0.1 * draw
        parameter.data.copy_(draw)


def write_tokenizer(folder: Path) -> None:
    """A vocabulary as CLIP lays it out: bytes, bytes that end a word, merges by frequency, start and end."""
    clip = importlib.import_module("transformers.models.clip.tokenization_clip")
    letters = list(clip.bytes_to_unicode().values())
    words = [(*word[:-1], word[-1] + "</w>") for word in SENTENCES.split()]
    merges: list[tuple[str, str]] = []
    while len(merges) < 30:
        pairs = Counter(pair for word in words for pair in pairwise(word))
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = [merged(word, best) for word in words]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges), START, END]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """A word with every occurrence of the pair joined."""
    out: list[str] = []
    for part in word:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)


def main(case_file: str, target: str) -> None:
    case, folder = json.loads(Path(case_file).read_text(encoding="utf-8")), Path(target)
    modality: str = case["modality"]
    title = f"LanguageBind{modality.title()}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": title, **case["config"]}), encoding="utf-8")
    config = getattr(upstream(f"{modality}.configuration_{modality}"), f"{title}Config").from_pretrained(folder)
    model = getattr(upstream(f"{modality}.modeling_{modality}"), title)(config).eval()
    randomise(model)
    write_tokenizer(folder)
    tokenizer = getattr(upstream(f"{modality}.tokenization_{modality}"), f"{title}Tokenizer").from_pretrained(folder)

    vision = config.vision_config
    if modality == "video":
        shape: tuple[int, ...] = (3, vision.num_frames, vision.image_size, vision.image_size)
    else:
        sides = vision.image_size
        shape = (3, *((sides, sides) if isinstance(sides, int) else sides))
    pixels = torch.empty(case["batch"], *shape).normal_(generator=torch.Generator().manual_seed(1))
    words = tokenizer(case["prompts"], max_length=77, padding="max_length", truncation=True, return_tensors="pt")
    with torch.no_grad():
        out = model(pixel_values=pixels, **words)
    expected = {
        "pixel_values": pixels,
        "image_embeds": out.image_embeds,
        "input_ids": words["input_ids"],
        "text_embeds": out.text_embeds,
        "logit_scale": model.logit_scale.detach().exp().reshape(1),
    }
    save_file({name: tensor.contiguous() for name, tensor in expected.items()}, folder / "expected.safetensors")

    state = {
        name.replace(".base_layer.", ".") if case["names"] == "old" else name: tensor.detach()
        for name, tensor in model.state_dict().items()
    }
    if case["format"] == "bin":
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file({name: tensor.clone() for name, tensor in state.items()}, folder / "model.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
