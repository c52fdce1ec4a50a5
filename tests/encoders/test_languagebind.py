"""LanguageBind's towers of sensors: what they take and give, and which folders they refuse in which words."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from languagebind_folder import (
    OF_MODALITY,
    TEXT,
    VISION,
    Section,
    Tensors,
    random_tensors,
    save,
    write_config,
    write_folder,
)
from mutations import outcome
from torch.nn import functional as F

from advcal_edge.encoders.base import Encoder, open_encoder
from advcal_edge.encoders.languagebind import Languagebind
from advcal_edge.encoders.languagebind.configuration import MODEL_TYPES, read_configuration
from advcal_edge.encoders.languagebind.trunk import CLIP_MEAN, CLIP_STD, Trunk
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.runtime.sensors.frame import Recording

every = pytest.mark.parametrize("modality", MODEL_TYPES)
SHAPES = {
    "image": (3, 28, 28),
    "video": (3, 3, 28, 28),
    "audio": (1, 28, 42),
    "depth": (1, 28, 28),
    "thermal": (1, 28, 28),
}
Spoil = Callable[[Tensors], object]
QUERY = "vision_model.encoder.layers.0.self_attn.q_proj"


def batch(encoder: Encoder, n: int) -> torch.Tensor:
    low, high = encoder.modality.input.bounds
    x = torch.rand(n, *encoder.modality.input.shape, generator=torch.Generator().manual_seed(0))
    return low + (high - low) * x


@every
def test_the_encoder_is_frozen_and_embeds_what_its_modality_says(tmp_path: Path, modality: str) -> None:
    encoder = open_encoder("languagebind", modality, write_folder(tmp_path / "F", modality))
    module = encoder.module()
    assert encoder.modality.input.shape == SHAPES[modality]
    assert encoder.license == "MIT"
    assert encoder.metadata["logit_scale"] == pytest.approx(math.exp(3))
    assert encoder.centers() is None
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    z = module(batch(encoder, 3))
    assert z.shape == (3, encoder.embedding_dim) == (3, 20)
    assert not torch.allclose(z[0], z[1], atol=1e-3)


@every
def test_samples_of_a_batch_do_not_see_each_other(tmp_path: Path, modality: str) -> None:
    encoder = Languagebind.load(modality, write_folder(tmp_path / "F", modality))
    module, x = encoder.module(), batch(encoder, 4)
    alone = torch.cat([module(x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(module(x), alone, rtol=1e-4, atol=1e-5)


@every
def test_gradients_reach_every_value(tmp_path: Path, modality: str) -> None:
    encoder = Languagebind.load(modality, write_folder(tmp_path / "F", modality))
    x = batch(encoder, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(F.normalize(encoder.module()(x), dim=-1)[:, 0].sum(), x)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).float().mean() > 0.99


def test_frames_of_a_clip_are_told_apart(tmp_path: Path) -> None:
    encoder = Languagebind.load("video", write_folder(tmp_path / "F", "video"))
    module, x = encoder.module(), batch(encoder, 1)
    assert not torch.allclose(module(x), module(x.flip(2)), atol=1e-3)


@pytest.mark.parametrize("modality", ["thermal", "depth"])
def test_one_channel_is_three_equal_ones_after_clips_normalisation(tmp_path: Path, modality: str) -> None:
    encoder = Languagebind.load(modality, write_folder(tmp_path / "F", modality))
    module, x = encoder.module(), batch(encoder, 2)
    assert isinstance(module, Trunk)
    pixels = (x.repeat(1, 3, 1, 1) - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]
    torch.testing.assert_close(module(x), module.embed_normalised(pixels))


def test_sound_is_normalised_by_twice_the_deviation_of_the_folder(tmp_path: Path) -> None:
    encoder = Languagebind.load("audio", write_folder(tmp_path / "F", "audio"))
    module, x = encoder.module(), batch(encoder, 2)
    assert isinstance(module, Trunk)
    torch.testing.assert_close(module(x), module.embed_normalised(((x + 4.0) / 9.0).repeat(1, 3, 1, 1)))


@every
def test_loading_leaves_the_random_state_alone(tmp_path: Path, modality: str) -> None:
    folder = write_folder(tmp_path / "F", modality)
    before = torch.get_rng_state()
    Languagebind.load(modality, folder).module()
    assert torch.equal(before, torch.get_rng_state())


def test_updates_are_added_with_their_scale(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "F", "image")
    tensors = random_tensors(folder)
    up, down = tensors[f"{QUERY}.lora_B.default.weight"], tensors[f"{QUERY}.lora_A.default.weight"]
    module = Languagebind.load("image", folder).module()
    found = module.get_parameter(f"{QUERY}.weight")
    torch.testing.assert_close(found, tensors[f"{QUERY}.weight"] + 8 * up @ down)  # lora_alpha 16 / lora_r 2


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_the_names_of_peft_are_read_and_do_not_change_the_fingerprint(tmp_path: Path, file: str) -> None:
    plain = Languagebind.load("image", write_folder(tmp_path / "plain", "image"))
    folder = write_folder(tmp_path / "wrapped", "image", file=file)
    wrapped = {
        name.replace(".encoder.", ".encoder.base_model.model.") if name.startswith("vision_model") else name: tensor
        for name, tensor in random_tensors(folder).items()
    }
    for name in [name for name in wrapped if "_proj.weight" in name or "_proj.bias" in name]:
        wrapped[name.replace("_proj.", "_proj.base_layer.")] = wrapped.pop(name)
    save(wrapped, folder / file)
    encoder = Languagebind.load("image", folder)
    assert encoder.fingerprint == plain.fingerprint
    assert torch.equal(encoder.module()(batch(encoder, 2)), plain.module()(batch(encoder, 2)))


def test_another_weight_is_another_fingerprint(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "F", "image")
    before = Languagebind.load("image", folder).fingerprint
    tensors = random_tensors(folder)
    tensors[f"{QUERY}.lora_A.default.weight"][0, 0] += 1e-3
    save(tensors, folder / "model.safetensors")
    assert Languagebind.load("image", folder).fingerprint != before


@pytest.mark.parametrize(
    ("modality", "frame"),
    [
        ("image", np.full((40, 60, 3), 90, np.uint8)),
        ("video", np.full((9, 40, 60, 3), 90, np.uint8)),
        ("thermal", np.arange(28000, 30400, dtype=np.uint16).reshape(40, 60)),
        ("depth", np.full((40, 60), 2.0, np.float32)),
        ("audio", Recording(np.sin(np.arange(4000, dtype=np.float32)), 16000.0)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_raw_frames_become_its_input(tmp_path: Path, modality: str, frame: object) -> None:
    encoder = Languagebind.load(modality, write_folder(tmp_path / "F", modality))
    x = encoder.modality.input.check(preprocess(encoder.modality, [frame]))
    assert torch.isfinite(encoder.module()(torch.from_numpy(x))).all()
    if modality == "depth":
        np.testing.assert_allclose(x, 2.0 / 8.0, atol=1e-4)
    if modality == "audio":  # 250 ms are 23 frames, which repeat
        np.testing.assert_array_equal(x[..., :19], x[..., 23:])


def test_the_older_section_wins_and_falls_back_to_defaults(tmp_path: Path) -> None:
    sections: Section = {"text_config": TEXT, "vision_config": {**VISION, "hidden_size": 48, "lora_r": 7}}
    write_config(tmp_path, "image", {**sections, "vision_config_dict": {"hidden_size": 96, "num_attention_heads": 6}})
    sizes = read_configuration(tmp_path).vision
    assert (sizes.transformer.width, sizes.transformer.depth, sizes.patch, sizes.lora_rank) == (96, 12, 32, 2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop(f"{QUERY}.bias"), r"missing \(`.*q_proj.bias`\)"),
        (lambda t: t.pop(f"{QUERY}.weight"), r"lack `.*q_proj.weight`"),
        (lambda t: t.pop(f"{QUERY}.lora_B.default.weight"), r"lack `.*q_proj.lora_B.default.weight`"),
        (lambda t: t.pop("logit_scale"), "lack `logit_scale`"),
        (lambda t: t.update(logit_scale=torch.zeros(2)), "`logit_scale` in .* expected one finite number"),
        (lambda t: t.update({f"{QUERY}.lora_A.default.weight": torch.zeros(3, 32)}), r"is \(3, 32\) and \(32, 2\)"),
        (lambda t: t.update({"vision_model.mlp.lora_A.default.weight": torch.zeros(2, 3)}), "updates of 1 maps"),
        (lambda t: t.update({"vision_model.extra": torch.zeros(2)}), r"left over \(`vision_model.extra`\)"),
        (lambda t: t.update({"visual_projection.weight": torch.zeros(9, 32)}), r"\(9, 32\) for \(20, 32\)"),
        (lambda t: t.update({f"{QUERY}.bias": torch.zeros(32).double()}), "is float64; expected float32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, spoil: Spoil, message: str) -> None:
    folder = write_folder(tmp_path / "F", "image")
    tensors = random_tensors(folder)
    spoil(tensors)
    save(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match=message):
        Languagebind.load("image", folder)


@pytest.mark.parametrize(
    ("modality", "change", "message"),
    [
        ("image", {"hidden_size": 36}, "of another shape|from `lora_r`"),
        ("image", {"num_hidden_layers": 2}, "lack `vision_model.encoder.layers.1"),
        ("image", {"lora_r": 0}, r"updates of 4 maps that `config.json` \(rank 0\)"),
        ("image", {"num_attention_heads": 5}, "`num_attention_heads` .* is 5; expected a divisor of `hidden_size` 32"),
        ("image", {"hidden_act": "relu"}, "`hidden_act` .* expected `gelu` or `quick_gelu`"),
        ("image", {"patch_size": 3.5}, "`patch_size` .* is 3.5; expected a whole number from 1"),
        ("image", {"patch_size": "14"}, "`patch_size` .* is '14'; expected a number"),
        ("image", {"patch_size": 56}, "expected at most the input, 28 x 28"),
        ("image", {"num_channels": 1}, "`num_channels` .* is 1; expected 3"),
        ("image", {"num_frames": 8, "add_time_attn": True}, "`num_frames` .* is 8; expected 1 for image"),
        ("image", {"image_size": [28, 42]}, "frames of 28 x 42; expected square ones"),
        ("video", {"add_time_attn": False}, "`add_time_attn` .* expected true"),
        ("video", {"clip_type": "vl_new", "tube_size": 3}, "`tube_size` .* is 3; expected 1"),
        ("audio", {"num_mel_bins": 0}, "`num_mel_bins` .* expected a number of mel bands"),
        ("depth", {"max_depth": 0}, "`max_depth` .* is 0; expected a number above zero"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(
    tmp_path: Path, modality: str, change: Section, message: str
) -> None:
    folder = write_folder(tmp_path / "F", modality)
    vision = {**VISION, **OF_MODALITY[modality], **change}
    write_config(folder, modality, {"projection_dim": 20, "text_config": TEXT, "vision_config": vision})
    with pytest.raises(InputError, match=message):
        Languagebind.load(modality, folder)


def test_a_folder_of_another_modality_says_which(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "F", "thermal")
    with pytest.raises(InputError, match="holds the tower for thermal; expected that for depth") as refusal:
        Languagebind.load("depth", folder)
    assert "--modality thermal" in str(refusal.value.hint)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        Languagebind.load("image", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no `config.json`"):
        Languagebind.load("image", tmp_path)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        Languagebind.load("image", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}', encoding="utf-8")
    with pytest.raises(InputError, match="model type 'clip'; expected one of: `LanguageBindImage`"):
        Languagebind.load("image", tmp_path)
    write_config(tmp_path, "image", {"vision_config": [1]})
    with pytest.raises(InputError, match=r"`vision_config` .* is \[1\]; expected an object"):
        Languagebind.load("image", tmp_path)


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "F", "image")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no weights; expected `model.safetensors` or `pytorch_model.bin`"):
        Languagebind.load("image", folder)
    (folder / "pytorch_model.bin.index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="has no `weight_map`"):
        Languagebind.load("image", folder)


def test_a_modality_or_a_folder_must_be_named() -> None:
    with pytest.raises(ConfigError, match="no tower for the modality `imu`"):
        Languagebind.load("imu", Path())
    with pytest.raises(ConfigError, match="brings no weights") as refusal:
        Languagebind.load("image", None)
    assert refusal.value.hint == "`--weights FOLDER`"


def test_naming_the_encoder_loads_no_torch() -> None:
    program = "import sys; from advcal_edge.encoders.languagebind import Languagebind; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


ODD = st.sampled_from([None, True, -1, 0, 0.5, 1e300, 2**40, 2**63, "x" * 100, "", [], [1, 2], [[]], {}, {"a": 1}])


@given(changes=st.dictionaries(st.sampled_from([*TEXT, *VISION, "num_frames", "lora_r", "max_depth"]), ODD, min_size=1))
@pytest.mark.parametrize("modality", ["video", "audio"])
def test_any_other_value_is_said_in_words(
    changes: Section, modality: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "odd"
    folder.mkdir(exist_ok=True)
    sections = {"text_config": {**TEXT, **changes}, "vision_config": {**VISION, **OF_MODALITY[modality], **changes}}
    write_config(folder, modality, {"projection_dim": 20, **sections})
    outcome(read_configuration, folder, InputError)


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', "[" * 10_000, '{"a": ' + "9" * 5000 + "}", '"x"', "null", "", '{"model_type": "\\ud800"}']
)
def test_a_configuration_that_is_no_plain_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    assert outcome(read_configuration, tmp_path, InputError)


def test_a_model_of_a_billion_layers_is_not_built(tmp_path: Path) -> None:
    write_config(tmp_path, "image", {"text_config": {**TEXT, "num_hidden_layers": 10**9}, "vision_config": VISION})
    with pytest.raises(InputError, match="expected a whole number from 1 to 1024"):
        read_configuration(tmp_path)
