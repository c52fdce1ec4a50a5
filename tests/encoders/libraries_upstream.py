"""Run by an interpreter that has timm and open_clip: a model at random weights against our encoder of the same file.

    python libraries_upstream.py NAME FOLDER

NAME is that of an encoder, `timm:MODEL` or `openclip:MODEL`. FOLDER receives the weights in several forms. Prints one
JSON document: the largest differences of embeddings to the library's own, and what our encoder says of itself.

torchvision comes as the wheel of another build of torch, so its compiled part does not load. Both libraries import its
transforms alone, and neither calls what is compiled; declaring those operators lets the import pass.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

DECLARED = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    DECLARED.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

PROMPTS = ["a photo of a cat", "Two  dogs' tails", "walking " * 90]


def randomise(model: torch.nn.Module) -> None:
    """Every parameter drawn anew, at scales that keep activations near one."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        draw = torch.empty_like(parameter).normal_(generator=generator)
        if parameter.ndim > 1:
            draw *= parameter[0].numel() ** -0.5
        elif name == "logit_scale":
            draw = draw.abs() + 2
        else:
            draw = 0.1 * draw + (1.0 if name.endswith("weight") else 0.0)
        parameter.data.copy_(draw)


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference of unit-norm embeddings."""
    return float((F.normalize(one, dim=-1) - F.normalize(other, dim=-1)).abs().max())


def main(name: str, folder: Path) -> None:
    from advcal_edge.encoders.base import notes_of, open_encoder, open_text_tower
    from advcal_edge.encoders.check import check_module

    family, _, model_name = name.partition(":")
    found: dict[str, Any] = {}
    if family == "timm":
        import timm

        model = timm.create_model(model_name, pretrained=False).eval()
        settings = model.pretrained_cfg
        mean, std = settings["mean"], settings["std"]
        file = folder / "model.safetensors"
    else:
        import open_clip

        model = open_clip.create_model(model_name, pretrained=None, load_weights=False).eval()
        mean, std = model.visual.image_mean, model.visual.image_std
        file = folder / "open_clip_model.safetensors"
    randomise(model)
    folder.mkdir(parents=True)
    state = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
    save_file(state, file)
    torch.save({"epoch": 1, "state_dict": {f"module.{key}": v for key, v in state.items()}}, folder / "training.pt")

    encoder = open_encoder(name, "image", folder)
    x = torch.rand(2, *encoder.modality.input.shape, generator=torch.Generator().manual_seed(1))
    pixels = (x - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)
    module = check_module(encoder, x)
    with torch.no_grad():
        if family == "timm":
            expected = model.forward_head(model.forward_features(pixels), pre_logits=True)
        else:
            expected = model.encode_image(pixels)
        found["image"] = difference(module(x), expected)
        if family == "openclip":
            tower = open_text_tower(name, folder)
            tokens = open_clip.get_tokenizer(model_name)(PROMPTS)
            found["text"] = difference(torch.from_numpy(tower.embed(PROMPTS)), model.encode_text(tokens))
            found["temperature"] = tower.temperature * float(model.logit_scale.exp())
    trained = open_encoder(name, "image", folder / "training.pt")
    found |= {
        "name": encoder.name,
        "license": encoder.license,
        "dim": encoder.embedding_dim,
        "shape": encoder.modality.input.shape,
        "same": trained.fingerprint == encoder.fingerprint,
        "notes": notes_of(trained),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
