"""Named settings below all others: `fast` for a demo, `thorough` for use, `paper` for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.config import Layer, resolve
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose, split_folder
from advcal_edge.spec import MODALITIES

Settings = Mapping[str, Any]

DEFAULT = "fast"
PRESETS: Mapping[str, Settings] = {
    # the defaults: a minute on two processor cores for the embedded encoder, figures included
    "fast": {},
    # minutes for the embedded encoder, hours on a GPU for a large one
    "thorough": {
        "objective": {"attacked": "ce + 5 l2", "clean": "ce + 7 l2"},
        "train": {"samples": 4000, "epochs": 12, "mirror": True},
    },
    # arXiv 2505.11895: a head behind the frozen encoder, trained on examples that were crafted once, without it
    "paper": {
        "adapter": {"kind": "head"},
        "objective": {"attacked": "ce", "clean": "half"},
        "craft": {"kind": "static"},
    },
}
BY_MODALITY: Mapping[str, Mapping[str, Settings]] = {
    # chosen on the tuning samples; video and event take 30 ms to render, so they get fewer scenes and more epochs
    "fast": {
        "image": {"adapter": {"filter": 32.0}},
        "video": {
            "objective": {"clean": "ce + 7 l2"},
            "train": {"samples": 1200, "epochs": 5, "mirror": True, "learning_rate": 4e-2},
        },
        "event": {
            "objective": {"clean": "ce + 7 l2"},
            "train": {"samples": 1200, "epochs": 5, "mirror": True},
        },
        "depth": {"train": {"epochs": 4, "learning_rate": 4e-2}},
        "audio": {"train": {"samples": 1800, "epochs": 3}},
        "imu": {"train": {"epochs": 15, "batch": 32}},  # there are 440 windows in total
        # a filter of three coordinates cannot tell an attack from a point
        "point": {"adapter": {"kind": "lora-xs+norms"}, "train": {"epochs": 3, "learning_rate": 4e-2}},
    },
    "thorough": {
        "image": {"adapter": {"filter": 32.0}},
        "video": {"objective": {"clean": "ce + 15 l2"}, "train": {"samples": 2400}},
        "event": {"train": {"samples": 2400}},
        "depth": {"objective": {"clean": "ce + 10 l2"}, "train": {"learning_rate": 4e-2}},
        "audio": {"train": {"mirror": False}},
        "imu": {"train": {"epochs": 60, "batch": 32, "mirror": False}},
        "point": {
            "adapter": {"kind": "lora-xs+norms"},
            "objective": {"clean": "ce + 12 l2"},
            "train": {"mirror": False, "learning_rate": 4e-2},
        },
    },
    "paper": {
        "video": {"train": {"samples": 1200}},
        "event": {"train": {"samples": 1200}},
        "audio": {"train": {"samples": 1800}},
        "imu": {"train": {"batch": 32}},
    },
}
"""Further changes of each preset by modality."""


def configure(layers: Sequence[Layer] = (), **settings: Any) -> CalibrateConfig:
    """Settings over the preset and what it changes for the modality: those of `layers`, lowest first, then keywords.

    >>> configure(modality="thermal", out="B", train={"epochs": 2}).train.epochs
    2

    Raises:
        ConfigError: an unknown key (with the nearest match), a value of the wrong type, an unknown preset, or one that
            the other settings contradict.
    """
    upper = [*layers, Layer("keywords", settings)]
    modality, preset = (
        str(next((layer.values[key] for layer in reversed(upper) if key in layer.values), default))
        for key, default in (("modality", ""), ("preset", DEFAULT))
    )
    origin = f"preset `{preset}`"
    below = [
        Layer(origin, choose("preset", preset, PRESETS)),
        Layer(f"{origin} of `{modality}`", BY_MODALITY[preset].get(modality, {})),
    ]
    out = {"out": f"bundles/{modality}"} if modality in MODALITIES else {}
    chosen = resolve(CalibrateConfig, [Layer("defaults", out), *below, *upper])
    encoder, weights = split_folder(chosen.encoder, chosen.weights)
    chosen = replace(chosen, encoder=encoder, weights=weights)
    if preset == "paper":
        _check_paper(chosen)
    return chosen


def _check_paper(config: CalibrateConfig) -> None:
    """Refuse what is not the paper's: anything else than one of its objectives on a head and static examples."""
    for found, expected, flag in (
        (config.adapter.kind, ("head",), "--adapter"),
        (config.craft.kind, ("static",), "--threat"),
        (config.objective.attacked, ("ce", "l2", "infonce"), "--objective"),
    ):
        if found not in expected:
            raise ConfigError(
                f"`--preset paper` contradicts `{flag} {found}`; expected {' or '.join(f'`{e}`' for e in expected)}",
                hint=f"leave out `--preset paper`, or `{flag}`",
            )
