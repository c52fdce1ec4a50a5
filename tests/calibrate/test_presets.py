"""Presets: what lies below which, and what contradicts the paper's."""

from __future__ import annotations

import pytest

from advcal_edge.calibrate.objectives import attack_loss
from advcal_edge.calibrate.presets import BY_MODALITY, PRESETS, configure
from advcal_edge.cli import main
from advcal_edge.config import Layer, parse_settings
from advcal_edge.errors import ConfigError
from advcal_edge.spec import MODALITIES


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("modality", MODALITIES)
def test_every_preset_is_legal_for_every_modality(preset: str, modality: str) -> None:
    config = configure(modality=modality, preset=preset)
    assert (config.preset, config.modality, config.out) == (preset, modality, f"bundles/{modality}")
    assert attack_loss(config.objective) == "ce"


def test_modalities_and_presets_are_real() -> None:
    assert BY_MODALITY.keys() == PRESETS.keys()
    for changes in BY_MODALITY.values():
        assert set(changes) <= set(MODALITIES)


def test_anything_else_lies_above_a_preset() -> None:
    layers = [Layer("file", {"preset": "thorough", "train": {"epochs": 7}}), parse_settings(["train.samples=100"])]
    config = configure(layers, modality="depth", train={"batch": 10})
    assert (config.train.epochs, config.train.samples, config.train.batch) == (7, 100, 10)
    assert config.train.learning_rate == 4e-2  # of thorough depth
    assert config.objective.clean == "ce + 10 l2"
    assert configure(layers, modality="depth", preset="fast").train.learning_rate == 4e-2


def test_a_preset_that_is_none() -> None:
    with pytest.raises(ConfigError, match="unknown preset `throrough`") as caught:
        configure(modality="image", preset="throrough")
    assert caught.value.hint == "did you mean `thorough`?"


@pytest.mark.parametrize("objective", ["ce", "l2", "infonce"])
def test_the_paper_has_three_objectives(objective: str) -> None:
    config = configure(modality="image", preset="paper", objective={"attacked": objective})
    assert (config.adapter.parts, config.craft.kind) == (("head",), "static")
    assert config.objective.clean_terms == {objective: 0.5}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--adapter", "lora"], "contradicts `--adapter lora`; expected `head`"),
        (["--threat", "adaptive"], "contradicts `--threat adaptive`; expected `static`"),
        (["--objective", "ce + l2"], "contradicts `--objective ce + l2`; expected `ce` or `l2` or `infonce`"),
        (["--set", "train.mirror=true"], "`--threat static` attacks them once"),
    ],
)
def test_what_is_not_the_papers_is_refused(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--modality", "image", "--preset", "paper", *options]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "hint:" in err
