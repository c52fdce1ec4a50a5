"""Towers of transformers from local folders compute what the library computes, and nothing in a folder is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import transformers_folder
from torch import Tensor, nn

from advcal_edge.encoders.base import notes_of, open_encoder, open_text_tower, text_centers
from advcal_edge.encoders.check import check_module
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.runtime.sensors.frame import Recording

LIMIT = 2e-6
MEAN, STD = (torch.tensor(transformers_folder.COLOURS[key]).reshape(3, 1, 1) for key in ("image_mean", "image_std"))


def features(kind: str, model: Any, x: Tensor) -> Tensor:
    """What the library's own model gives for physical x."""
    with torch.no_grad():
        if kind == "ast":
            values = (x[:, 0].transpose(1, 2) - transformers_folder.SOUNDS["mean"]) / (
                2 * transformers_folder.SOUNDS["std"]
            )
            return model(input_values=values).pooler_output
        pixels = (x - MEAN) / STD
        if kind in ("clip", "siglip"):
            found = model.get_image_features(pixel_values=pixels)
            return found if isinstance(found, Tensor) else found.pooler_output
        if kind == "clip_vision":
            return model(pixel_values=pixels).image_embeds
        if kind == "vit_classifier":
            return model.vit(pixel_values=pixels).last_hidden_state[:, 0]
        return model(pixel_values=pixels).pooler_output


@pytest.mark.parametrize(
    ("kind", "name", "dim"),
    [
        ("clip", "hf", 16),
        ("clip_vision", "hf", 16),
        ("siglip", "hf", 32),
        ("siglip", "siglip", 32),
        ("dinov2", "dinov2", 32),
        ("vit", "hf", 32),
        ("vit_classifier", "hf", 32),
        ("convnext", "hf", 16),
        ("ast", "hf", 32),
    ],
)
def test_a_tower_computes_what_the_library_does(kind: str, name: str, dim: int, tmp_path: Path) -> None:
    model = transformers_folder.write(tmp_path / "F", kind)
    modality = "audio" if kind == "ast" else "image"
    encoder = open_encoder(name, modality, tmp_path / "F")
    assert encoder.embedding_dim == dim
    assert encoder.modality.input.shape == ((1, 16, 40) if kind == "ast" else (3, 32, 32))
    low, high = encoder.modality.input.bounds
    x = low + (high - low) * torch.rand(3, *encoder.modality.input.shape, generator=torch.Generator().manual_seed(1))
    module = check_module(encoder, x[:2])
    with torch.no_grad():
        z, expected = (nn.functional.normalize(found, dim=-1) for found in (module(x), features(kind, model, x)))
    difference = float((z - expected).abs().max())
    print(f"{kind}: {difference:.2g}")
    assert difference < LIMIT
    assert float((z[0] - z[1]).abs().max()) > 0.1, "samples so alike could be exchanged unnoticed"
    assert encoder.fingerprint == open_encoder(name, modality, tmp_path / "F").fingerprint
    assert not {key for key, _ in module.named_parameters() if "text" in key}
    assert encoder.license == "unknown: see where the weights came from"


def test_what_a_folder_says_of_its_license_and_frames(tmp_path: Path) -> None:
    model = transformers_folder.write(tmp_path / "F", "vit", do_rescale=False, do_center_crop=False, size=32)
    path = tmp_path / "F/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "license": "apache-2.0"}))
    encoder = open_encoder("hf", "image", tmp_path / "F")
    assert encoder.license == "apache-2.0"
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():  # without rescaling the library subtracts the mean from values up to 255
        expected = model(pixel_values=(255 * x - MEAN) / STD).pooler_output
        torch.testing.assert_close(encoder.module()(x), expected, rtol=1e-3, atol=1e-4)


def test_the_sensor_makes_what_the_spectrogram_transformer_was_trained_on(tmp_path: Path) -> None:
    transformers_folder.write(tmp_path / "F", "ast")
    encoder = open_encoder("hf", "audio", tmp_path / "F")
    rng = np.random.default_rng(0)
    wave = (0.3 * np.sin(np.cumsum(rng.uniform(0.05, 1.5, 6640))) + 0.01 * rng.normal(size=6640)).astype(np.float32)
    settings = {key: transformers_folder.SOUNDS[key] for key in ("num_mel_bins", "max_length", "mean", "std")}
    extractor: Any = transformers.ASTFeatureExtractor(**settings)
    expected = extractor(wave, sampling_rate=16000, return_tensors="np").input_values[0].T
    x = preprocess(encoder.modality, [Recording(wave[None], 16000)])[0, 0]
    found = (x - transformers_folder.SOUNDS["mean"]) / (2 * transformers_folder.SOUNDS["std"])
    assert found.shape == expected.shape == (16, 40)
    step = 28 / 65535 / (2 * transformers_folder.SOUNDS["std"])
    assert np.abs(found - expected).max() < 2 * step + 1e-3


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_centers_are_the_librarys_text_features(kind: str, tmp_path: Path) -> None:
    model: Any = transformers_folder.write(tmp_path / "F", kind)
    tower = open_text_tower("siglip" if kind == "siglip" else "hf", tmp_path / "F")
    assert tower.temperature == pytest.approx(np.exp(-3.0))
    rows = [[1, 3, 4, 5, 3, 6, 2], [1, 8, 2]]
    length = 12 if kind == "siglip" else 7
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = {} if kind == "siglip" else {"attention_mask": (ids > 0).long()}
    with torch.no_grad():
        found = model.get_text_features(input_ids=ids, **mask)
    expected = found if isinstance(found, Tensor) else found.pooler_output
    z = tower.embed(["a photo of a cat", "tree"])
    np.testing.assert_allclose(z, nn.functional.normalize(expected, dim=-1).numpy(), rtol=1e-4, atol=1e-5)
    centers = text_centers(tower, ["cat", "dog"], ["a photo of a {}", "{}"])
    assert centers.dim == z.shape[1]
    assert kind in centers.source


def test_a_model_without_a_text_tower(tmp_path: Path) -> None:
    transformers_folder.write(tmp_path / "F", "vit")
    with pytest.raises(ConfigError, match="is of the type `vit`; expected one with a text tower: clip, siglip"):
        open_text_tower("hf", tmp_path / "F")


def test_half_precision_and_a_cache_are_read_alike(tmp_path: Path) -> None:
    model: Any = transformers_folder.write(tmp_path / "F", "clip")
    model.half().save_pretrained(tmp_path / "F")
    plain = open_encoder("hf", "image", tmp_path / "F")
    assert notes_of(plain) == ("`model.safetensors` holds float16, converted to float32",)
    cached = open_encoder("hf", "image", transformers_folder.into_cache(tmp_path / "F", tmp_path / "C"))
    assert cached.fingerprint == plain.fingerprint
    assert {p.dtype for p in cached.module().parameters()} == {torch.float32}


def test_shards_are_read_as_the_whole(tmp_path: Path) -> None:
    model: Any = transformers_folder.write(tmp_path / "F", "vit")
    whole = open_encoder("hf", "image", tmp_path / "F").fingerprint
    (tmp_path / "F/model.safetensors").unlink()
    model.save_pretrained(tmp_path / "F", max_shard_size="30KB")
    shards = sorted((tmp_path / "F").glob("model-0*.safetensors"))
    assert len(shards) > 2
    assert open_encoder("hf", "image", tmp_path / "F").fingerprint == whole
    shards[1].unlink()
    with pytest.raises(InputError, match=rf"1 of the {len(shards)} shards of .* are not there: `{shards[1].name}`"):
        open_encoder("hf", "image", tmp_path / "F")


def test_the_class_token_serves_where_a_classifier_has_no_pooling(tmp_path: Path) -> None:
    transformers_folder.write(tmp_path / "F", "vit_classifier")
    (note,) = notes_of(open_encoder("hf", "image", tmp_path / "F"))
    assert "the embedding is the class token" in note


@pytest.mark.parametrize(
    ("kind", "name", "modality", "error", "words"),
    [
        ("ast", "hf", "image", ConfigError, "has no tower for the modality `image`"),
        ("vit", "hf", "thermal", ConfigError, "has no tower for the modality `thermal`"),
        ("wav2vec2", "hf", "audio", InputError, "of the type `wav2vec2`, which reads the wave itself"),
        ("vit", "siglip", "image", InputError, "of the type `vit`; expected `siglip`"),
        ("clip", "dinov2", "image", InputError, "of the type `clip`; expected `dinov2`"),
    ],
)
def test_what_a_tower_is_not_for(
    kind: str, name: str, modality: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    transformers_folder.write(tmp_path / "F", kind)
    with pytest.raises(error, match=words) as caught:
        open_encoder(name, modality, tmp_path / "F")
    assert caught.value.hint  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (transformers.ClapConfig, "has several towers; its tower of sound reads spectrograms of its own kind"),
        (transformers.WhisperConfig, "reads spectrograms of its own kind, with another window"),
        (transformers.Siglip2Config, "has several towers; expected one tower of images, `clip` or `siglip`"),
        (transformers.BertConfig, "reads text"),
    ],
)
def test_it_is_said_what_another_model_reads(config: Any, words: str, tmp_path: Path) -> None:
    config().save_pretrained(tmp_path)
    for modality in ("audio", "image"):
        with pytest.raises(InputError, match=words) as caught:
            open_encoder("hf", modality, tmp_path)
        assert "package.module:factory" in str(caught.value.hint)


def edited(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("config.json", {"model_type": "mine"}, "of the model type `mine`"),
        ("config.json", {"model_type": ["vit"]}, "of the model type"),
        ("config.json", {"hidden_size": "wide"}, "cannot be used|do not fit"),
        ("config.json", {"hidden_size": 36}, "do not fit `config.json`"),
        ("config.json", {"num_hidden_layers": 3}, "lack 16 of its tensors"),
        ("config.json", {"image_size": 64}, "do not fit `config.json`"),
        ("config.json", {"num_channels": 1}, "do not fit `config.json`"),
        ("config.json", {"num_hidden_layers": 10**9}, "expected at most 1,024"),
        ("config.json", {"hidden_size": 2**14}, "asks for [0-9,]+ parameters, and its weights hold"),
        ("config.json", {"image_size": 2**20}, "asks for [0-9,]+ parameters, and its weights hold"),
        ("config.json", {"backbone_config": {"backbone": "someone/model"}}, "takes a part from `someone/model`"),
        ("config.json", {"use_pretrained_backbone": True}, "nothing is downloaded"),
        ("config.json", {"quantization_config": {"bits": 4}}, "are quantised"),
        ("preprocessor_config.json", {"crop_size": {"height": 32, "width": 40}}, "frames of 32 x 40"),
        ("preprocessor_config.json", {"crop_size": "large"}, "says the size large"),
        ("preprocessor_config.json", {"crop_size": 40}, r"does not take `image` of shape \(3, 40, 40\)"),
        ("preprocessor_config.json", {"image_mean": None}, "says no `image_mean`"),
        ("preprocessor_config.json", {"image_std": [1, 1, 0]}, "expected those of three colours"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "expected those of three colours"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_words(
    name: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    transformers_folder.write(tmp_path / "F", "vit")
    edited(tmp_path / "F", name, **changes)
    with pytest.raises(InputError, match=words) as caught:
        open_encoder("hf", "image", tmp_path / "F")
    assert caught.value.hint


def test_code_beside_the_weights_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "F"
    transformers_folder.write(folder, "vit")
    (folder / "modeling_mine.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\nclass Mine: pass\n")
    named = {"auto_map": {"AutoConfig": "modeling_mine.Mine", "AutoModel": "modeling_mine.Mine"}}
    edited(
        folder, "config.json", **named, attn_implementation="someone/kernels", _attn_implementation="someone/kernels"
    )
    assert open_encoder("hf", "image", folder).embedding_dim == 32
    edited(folder, "config.json", **named, model_type="mine")
    with pytest.raises(InputError, match="does not have") as caught:
        open_encoder("hf", "image", folder)
    assert "never run" in str(caught.value.hint)
    assert not (tmp_path / "trace").exists()


def test_files_that_lie_elsewhere_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "F"
    transformers_folder.write(folder, "vit")
    (folder / "preprocessor_config.json").rename(tmp_path / "elsewhere.json")
    (folder / "preprocessor_config.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(InputError, match=r"is a link to .*, out of its folder"):
        open_encoder("hf", "image", folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="does not say how inputs are normalised"):
        open_encoder("hf", "image", folder)
