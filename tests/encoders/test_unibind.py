"""UniBind's folders and checkpoints: what is taken from them, and what is refused in words."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from unibind_folder import DIM, SCALES, pretrained_state, small, tuned_state, write

from advcal_edge.encoders.base import Encoder
from advcal_edge.encoders.unibind import Unibind
from advcal_edge.encoders.unibind.encoder import CONFIGS, MODALITIES
from advcal_edge.encoders.unibind.published import LinearHead
from advcal_edge.errors import ConfigError, InputError

every = pytest.mark.parametrize("modality", list(MODALITIES))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(pretrained_state(), tmp_path / "ckpts/pretrained_weights.pt")
    return tmp_path


def load(modality: str, weights: Path) -> Unibind:
    return Unibind.load(modality, weights, small(modality))


def tune(folder: Path, modality: str, run: str = "run") -> Path:
    return write(tuned_state(modality), folder / f"outputs/{run}/{modality}_model_best.pt")


def batch(encoder: Encoder, n: int) -> torch.Tensor:
    low, high = encoder.modality.input.bounds
    return low + (high - low) * torch.rand(n, *encoder.modality.input.shape, generator=torch.Generator().manual_seed(0))


@every
def test_the_published_checkpoint_is_a_trunk_without_head(folder: Path, modality: str) -> None:
    encoder: Encoder = load(modality, folder)
    module = encoder.module()
    assert encoder.modality.name == modality
    assert not encoder.metadata["head"]
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert module(batch(encoder, 2)).shape == (2, DIM)
    assert load(modality, folder / "ckpts/pretrained_weights.pt").fingerprint == encoder.fingerprint


@every
def test_a_fine_tuned_checkpoint_brings_its_head(folder: Path, modality: str) -> None:
    plain, x = load(modality, folder), batch(load(modality, folder), 2)
    state = tuned_state(modality)
    tuned = load(modality, tune(folder, modality))
    scaled = SCALES.get(modality, 1.0) * F.normalize(plain.module()(x), dim=-1)
    expected = scaled @ state[f"mlp_for_{modality}.weight"].T + state[f"mlp_for_{modality}.bias"]
    torch.testing.assert_close(tuned.module()(x), expected, rtol=1e-5, atol=1e-5)
    assert isinstance(tuned.module(), LinearHead)
    assert tuned.metadata["head"]
    assert tuned.metadata["logit_scale"] == pytest.approx(SCALES.get(modality, 1.0))
    assert tuned.fingerprint != plain.fingerprint
    assert load(modality, folder).fingerprint == tuned.fingerprint


def test_an_encoder_stays_what_it_was_when_a_checkpoint_is_added(folder: Path) -> None:
    encoder = load("thermal", folder)
    x = batch(encoder, 1)
    before = encoder.module()(x)
    tune(folder, "thermal")
    assert torch.equal(encoder.module()(x), before)


def test_statistics_are_those_of_unibinds_loaders() -> None:
    thermal, event, image = (CONFIGS[name] for name in ("thermal", "event", "image"))
    assert (thermal.mean, thermal.std) == ((0.5,), (0.5,))
    assert event == image


def test_published_sizes_are_the_default_inputs() -> None:
    shapes = {name: modality.input.shape for name, modality in MODALITIES.items()}
    assert shapes["event"] == (3, 224, 224)
    assert shapes["point"] == (8192, 3)
    assert {CONFIGS[name].embedding_dim for name in MODALITIES} == {1024}


def test_two_fine_tuned_checkpoints_are_refused(folder: Path) -> None:
    tune(folder, "audio", "first")
    tune(folder, "audio", "second")
    with pytest.raises(InputError, match="2 fine-tuned checkpoints for audio"):
        load("audio", folder)


def test_the_head_of_another_modality_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"the head for audio; expected `mlp_for_thermal\.weight`"):
        load("thermal", tune(folder, "audio"))


def test_a_missing_head_is_refused(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in tuned_state("image").items() if not name.startswith("mlp")}
    with pytest.raises(InputError, match="has no head"):
        load("image", write(state, tmp_path / "image_model_best.pt"))


def test_half_a_head_is_refused(tmp_path: Path) -> None:
    state = tuned_state("image")
    del state["mlp_for_image.bias"]
    with pytest.raises(InputError, match=r"1 missing \(`mlp_for_image.bias`\)"):
        load("image", write(state, tmp_path / "image_model_best.pt"))


@every
def test_another_size_is_refused(folder: Path, modality: str) -> None:
    with pytest.raises(InputError, match=r"(of another shape|missing|has no)"):
        Unibind.load(modality, folder)


def test_a_checkpoint_of_imagebind_alone_is_refused(tmp_path: Path) -> None:
    state = {name.removeprefix("bind."): tensor for name, tensor in pretrained_state().items()}
    with pytest.raises(InputError, match="holds none of the tensors"):
        load("thermal", write(state, tmp_path / "imagebind_huge.pth"))


def test_a_wrong_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no `ckpts/pretrained_weights.pt`"):
        load("image", tmp_path)
    with pytest.raises(InputError, match="there is no file or folder"):
        load("image", tmp_path / "nothing")


def test_a_modality_without_trunk_and_missing_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="no trunk for the modality `depth`"):
        Unibind.load("depth", Path())
    with pytest.raises(ConfigError, match="comes without weights"):
        Unibind.load("image", None)


def centres(folder: Path, counts: dict[str, int], name: str = "thermal_llvip") -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    state = {label: 3 * torch.randn(count, DIM, generator=generator) for label, count in counts.items()}
    write(state, folder / f"centre_embs/{name}_center_embeddings.pt")
    return state


def test_centers_are_several_a_class_and_the_nearest_decides(folder: Path) -> None:
    state = centres(folder, {"person": 5, "background": 5})
    found = load("thermal", folder).centers()
    assert found is not None
    assert found.labels == ("background", "person")
    assert found.vectors.shape == (2, 5, DIM)
    assert found.temperature == pytest.approx(1 / SCALES["text"])
    every_center = F.normalize(torch.cat([state[label] for label in found.labels]), dim=-1)
    z = F.normalize(torch.randn(50, DIM, generator=torch.Generator().manual_seed(2)), dim=-1)
    nearest_class = (z @ every_center.T).argmax(1) // 5
    np.testing.assert_array_equal(found.predict(z.numpy()), nearest_class.numpy())


def test_fewer_centers_are_repeated_which_changes_no_decision(folder: Path) -> None:
    state = centres(folder, {"person": 5, "background": 2})
    found = load("thermal", folder).centers()
    assert found is not None
    np.testing.assert_array_equal(found.vectors[0], found.vectors[0][[0, 1, 0, 1, 0]])
    np.testing.assert_allclose(found.vectors[0, :2], F.normalize(state["background"], dim=-1).numpy(), atol=1e-6)


def test_a_checkpoint_in_the_folder_finds_its_centers_and_another_none(folder: Path, tmp_path: Path) -> None:
    centres(folder, {"person": 2, "background": 2})
    assert load("thermal", folder / "ckpts/pretrained_weights.pt").centers() is not None
    assert load("thermal", tune(folder, "thermal")).centers() is not None
    assert load("audio", folder).centers() is None


def test_centers_of_two_data_sets_are_refused(folder: Path) -> None:
    centres(folder, {"a": 2, "b": 2})
    centres(folder, {"a": 2, "b": 2}, "thermal_other")
    with pytest.raises(InputError, match="2 files of centers for thermal"):
        load("thermal", folder).centers()


def test_a_pickle_is_refused_unopened_with_the_command_that_converts_it(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (folder / "opened",)

    path = folder / "centre_embs/thermal_llvip_center_embeddings.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="is a pickle, which can run code") as refusal:
        load("thermal", folder).centers()
    assert "torch.save" in str(refusal.value.hint)
    assert not (folder / "opened").exists()


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"a": torch.ones(2, DIM), "b": torch.ones(2, DIM + 1)}, "`b` in .* is float32"),
        ({"a": torch.ones(2, DIM), "b": torch.zeros(2, DIM)}, "zero or not finite"),
        ({"a": torch.ones(2, DIM)}, "expected at least two"),
        ({"a": torch.ones(2, DIM), "b": torch.ones(2, DIM).double()}, "expected float32"),
    ],
)
def test_broken_centers_are_refused(folder: Path, state: dict[str, torch.Tensor], complaint: str) -> None:
    write(state, folder / "centre_embs/thermal_llvip_center_embeddings.pt")
    with pytest.raises(InputError, match=complaint):
        load("thermal", folder).centers()
