"""Small real files, each unlike the others, to arrange as public data sets are; and what loads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soundfile

from advcal_edge.calibrate.config import DataConfig
from advcal_edge.calibrate.data.layouts import LAYOUTS
from advcal_edge.calibrate.data.layouts.draw import Drawn, load_layout
from advcal_edge.cli import main
from advcal_edge.spec import Modality, audio, event, image, point, thermal, video

SENSORS: dict[str, Modality] = {
    "image": image(8),
    "thermal": thermal(8),
    "audio": audio(16, 40),
    "point": point(16),
    "video": video(8, 2),
    "event": event(8),
}
QUICK = ["--adapter", "identity", "--samples", "8", "--set", "evaluate.steps=1", "--set", "evaluate.queries=2",
         "--set", "craft.steps=1", "--set", "craft.static_steps=1", "--set", "train.samples=8",
         "--set", "train.batch=4"]  # fmt: skip


def write(path: Path, data: bytes | str) -> Path:
    """A file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def write_frames(paths: Iterable[Path], first: int = 0) -> None:
    """A file at each path, of the format that its suffix says, of the content that its place in the list decides."""
    for seed, path in enumerate(paths, first):
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[path.suffix.lower()](path, np.random.default_rng(seed))


def _picture(path: Path, rng: np.random.Generator, sides: tuple[int, int] = (12, 12)) -> None:
    write(
        path,
        cv2.imencode(path.suffix.lower().replace("jpeg", "jpg"), rng.integers(0, 256, sides, np.uint8))[1].tobytes(),
    )


def _sound(path: Path, rng: np.random.Generator) -> None:
    soundfile.write(path, rng.uniform(-0.5, 0.5, 1600), 8000)


def _film(path: Path, rng: np.random.Generator) -> None:
    codec = "mp4v" if path.suffix == ".mp4" else "MJPG"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10.0, (32, 32))
    for frame in rng.integers(0, 256, (3, 32, 32, 3), np.uint8):
        film.write(frame)
    film.release()


def _off(path: Path, rng: np.random.Generator) -> None:
    corners = rng.normal(size=(6, 3)).round(4).tolist()
    rows = "".join(" ".join(map(repr, row)) + "\n" for row in corners)
    write(path, f"OFF6 4 0\n{rows}3 0 1 2\n3 1 2 3\n3 2 3 4\n3 3 4 5\n")


def _obj(path: Path, rng: np.random.Generator) -> None:
    corners = rng.normal(size=(6, 3)).round(4).tolist()
    rows = "".join("v " + " ".join(map(repr, row)) + "\n" for row in corners)
    write(path, f"mtllib a.mtl\n{rows}f 1 2 3\nf 2 3 4\nf 3 4 5\nf 4 5 6\n")


def _cloud(path: Path, rng: np.random.Generator) -> None:
    write(path, "\n".join(",".join(f"{value:.6f}" for value in row) for row in rng.normal(size=(20, 6))) + "\n")


def _atis(path: Path, rng: np.random.Generator) -> None:
    times = np.sort(rng.integers(0, 2**23, 60)) | rng.integers(0, 2, 60) << 23  # with the polarity in the highest bit
    places = rng.integers(0, 180, (60, 2), np.uint8)
    write(path, b"".join(bytes(place) + int(t).to_bytes(3, "big") for place, t in zip(places, times, strict=True)))


def _events(path: Path, rng: np.random.Generator) -> None:
    events = np.zeros(60, [("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "?")])
    events["x"], events["y"], events["p"] = rng.integers(0, 640, 60), rng.integers(0, 480, 60), rng.integers(0, 2, 60)
    np.savez_compressed(path, event_data=events)


WRITERS = {".png": _picture, ".jpg": _picture, ".jpeg": _picture, ".wav": _sound, ".mp4": _film, ".avi": _film,
           ".off": _off, ".obj": _obj, ".txt": _cloud, ".bin": _atis, ".npz": _events}  # fmt: skip


def draw(name: str, path: Path, known: Sequence[str] | None = None, **settings: Any) -> Drawn:
    """Samples of a layout; `train`, `held_out` and `seed` bound them, other keywords are settings of the data."""
    sizes = {"train": 1000, "held_out": 1000, "seed": 0}
    sizes |= {key: settings.pop(key) for key in tuple(sizes) if key in settings}
    pairs = SENSORS[settings["pairs"]] if "pairs" in settings else None
    data = DataConfig(path=str(path), layout=name, **settings)
    return load_layout(data, SENSORS[LAYOUTS[name].modality], known, pairs, **sizes)


def counts(drawn: Drawn) -> tuple[dict[str, int], dict[str, int]]:
    """Samples of each class, to train with and held out."""
    sides = (drawn.train, drawn.held_out)
    return tuple({name: int((s.labels == k).sum()) for k, name in enumerate(s.names)} for s in sides)  # type: ignore[return-value]


def names(drawn: Drawn, side: str = "held_out") -> list[str]:
    """Names of the files of one side, sorted."""
    frames: Any = getattr(drawn, side).frames
    return sorted(path.name for path in frames.paths)


def calibrate(modality: str, name: str, path: Path, out: Path, *flags: str) -> None:
    """A calibration of the embedded encoder from the command line."""
    command = ["calibrate", "--modality", modality, "--data", str(path), "--layout", name, "--out", str(out)]
    assert main([*command, *QUICK, *flags]) == 0
