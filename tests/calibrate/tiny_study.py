"""A study of the small encoder whose six cells take a second."""

from __future__ import annotations

from pathlib import Path

from small_encoder import write_folder

HEAD = """
out = "cells"
results = "tables/mine"
[settings]
modality = "thermal"
encoder = "small"
[settings.data]
path = "data"
[settings.train]
samples = 32
batch = 16
epochs = 1
cached_epochs = 2
[settings.craft]
static_steps = 2
[settings.evaluate]
samples = 12
steps = 2
queries = 5
"""
GRID = """
[grid]
preset = ["paper", "fast"]
"threat.eps" = ["0.02", "4/255"]
seed = [0, 1]

[[skip]]
preset = "paper"
seed = 1
"""


def write_study(folder: Path, text: str = HEAD + GRID) -> Path:
    """The file of a study in `folder`, with frames beside it; paths in it are relative to the folder."""
    write_folder(folder / "data", 60)
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"
