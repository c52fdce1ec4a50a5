"""Frames that are flat, thin, tiny, of one value or full of holes: drawn as page and as picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from page_reader import Reader

from advcal_edge.encoders.bindlite.encoder import MODALITIES
from advcal_edge.look import look
from advcal_edge.look.page import render_page
from advcal_edge.look.picture import draw_png
from advcal_edge.threat import Norm, ThreatModel

RNG = np.random.default_rng(0)
FRAMES: dict[str, tuple[str, NDArray[Any]]] = {
    "strip": ("image", np.full((1, 3000), 7, np.uint8)),
    "column": ("image", np.full((900, 1, 4), 255, np.uint8)),
    "flat warmth": ("thermal", np.full((700, 900), 29315, np.uint16)),
    "warm strip": ("thermal", np.full((1, 2000), 20.0, np.float32)),
    "one distance": ("depth", np.full((5, 5), 1.5, np.float32)),
    "mostly holes": ("depth", np.where(np.eye(900) > 0, 2.0, np.inf)),
    "one event": ("event", np.array([[0.0, 0, 0, 1]])),
    "one moment": ("event", np.c_[np.zeros(30), RNG.integers(0, 9, (30, 2)), np.ones(30)]),
    "a plane": ("point", np.c_[RNG.normal(size=(40, 2)), np.zeros(40)]),
    "far away": ("point", 1e6 + RNG.normal(size=(90, 3))),
    "two frames": ("video", np.zeros((2, 4, 4, 3), np.uint8)),
    "wide frames": ("video", RNG.integers(0, 256, (30, 5, 900, 3)).astype(np.uint8)),
    "at rest": ("imu", np.repeat([[0.0], [0], [9.81], [0], [0], [0]], 900, axis=1)),
    "two samples": ("imu", np.repeat([[0.0], [0], [9.81], [0], [0], [0]], 2, axis=1)),
}


@pytest.mark.parametrize("name", FRAMES)
def test_odd_frames_are_drawn(name: str, tmp_path: Path) -> None:
    norm: Norm = "l2" if list(FRAMES).index(name) % 2 else "linf"
    modality, values = FRAMES[name]
    np.save(tmp_path / "x.npy", values)
    sensor = MODALITIES[modality]
    if modality == "imu":
        sensor = sensor.with_settings({"file_rate": 50.0, "clips": 3.0})
    sight = look(tmp_path / "x.npy", sensor, ThreatModel(norm, 4 / 255, sensor.input.bounds), MODALITIES[modality])
    page = render_page([sight])
    assert Reader(page).open == []
    numbers = re.sub(r"base64,[^\"]*", "", page[page.index("<body") :])
    assert not re.search(r"\b(nan|inf)\b", numbers)
    drawn = cv2.imdecode(np.frombuffer(draw_png([sight]), np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None
    assert drawn.shape[1] == 1000
    assert drawn.shape[0] < 10_000
