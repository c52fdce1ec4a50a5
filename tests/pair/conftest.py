"""Two models and labelled frames as a user has them: files in one folder, which is the current one."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_frames import draw, write_frames


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def classifiers(here: Path) -> Path:
    """The classifier, its gradient, and frames of its classes."""
    from classifier import NAMES, backward, forward, logits

    (here / "original.onnx").write_bytes(forward())
    (here / "gradient.onnx").write_bytes(backward())
    write_frames(here / "frames", *draw(lambda x: [NAMES[k] for k in logits(x).argmax(axis=1)]))
    return here
