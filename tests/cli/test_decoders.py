"""Damaged files of every format: what decoders have to say about them never reaches the terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import soundfile
from tiny import Linear, write_bundle

from advcal_edge.spec import Modality, audio, event, image, video

OURS = re.compile(r"(embed  1 file|embed  1/1  100 %|error: |hint: |next: |$)")
EMBED = """
import sys
from advcal_edge.cli import main
codes = [main(["embed", sys.argv[1], path, "--top", "1"]) for path in sys.argv[2:]]
print("codes", *codes)
"""
READ = """
import sys
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors import read_frame
from advcal_edge.spec import event, video, image
modality = {"video": video(8, 2), "event": event(8), "image": image(8)}[sys.argv[1]]
for path in sys.argv[2:]:
    try:
        read_frame(path, modality)
    except InputError:
        print("refused")
"""
THREADS = """
import sys, threading
from advcal_edge.cli.decoders import keep_decoders_quiet
from advcal_edge.runtime.sensors.files.opencv import decode_picture
keep_decoders_quiet()
data = open(sys.argv[1], "rb").read()
said = []
threads = [threading.Thread(target=lambda: said.extend(decode_picture(data)[1] for _ in range(50))) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(said), sorted({tuple(lines) for lines in said}))
sys.stderr.write("still here")
"""


def run(code: str, *arguments: str) -> tuple[str, str]:
    """stdout and stderr, as they left the process."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True)
    return done.stdout.decode(), done.stderr.decode()


def picture(suffix: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return cv2.imencode(suffix, cv2.GaussianBlur(noise, (0, 0), 2))[1].tobytes()


def film(path: Path, codec: str) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
    for index in range(12):
        writer.write(np.random.default_rng(index).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()


def recording(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", data=np.arange(4000) % 2, compression="gzip", chunks=(500,))


def pictures(folder: Path) -> None:
    for suffix in (".png", ".jpg", ".tiff", ".webp", ".bmp"):
        (folder / f"whole{suffix}").write_bytes(picture(suffix))


def films(folder: Path) -> None:
    for suffix, codec in ((".mp4", "mp4v"), (".avi", "MJPG"), (".avi", "FFV1"), (".ts", "mp4v")):
        film(folder / f"{codec}{suffix}", codec)


def sounds(folder: Path) -> None:
    for suffix in ("wav", "flac"):
        soundfile.write(folder / f"whole.{suffix}", np.random.default_rng(0).uniform(-0.5, 0.5, 16000), 16000)


def damaged(folder: Path, each: int = 12) -> list[str]:
    """Every file of the folder, cut off, with bytes changed, and with a part left out."""
    rng = np.random.default_rng(0)
    found = []
    for whole in sorted(folder.iterdir()):
        data = whole.read_bytes()
        for index in range(each):
            bad = bytearray(data)
            at = int(rng.integers(100, len(data) - 50))
            if index % 3 == 0:
                del bad[at:]
            elif index % 3 == 1:
                del bad[at : at + 40]
            else:
                for place in rng.integers(20, len(bad), 20):
                    bad[place] = int(rng.integers(256))
            path = whole.with_name(f"{index}-{whole.name}")
            path.write_bytes(bad)
            found.append(str(path))
    return found


@pytest.mark.parametrize(
    ("modality", "write"),
    [
        (image(8), pictures),
        (video(8, 2), films),
        (audio(16, 40), sounds),
        (event(8), lambda folder: recording(folder / "whole.h5")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_embed_tells_it_in_its_own_words(modality: Modality, write: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    write(tmp_path / "files")
    bundle = write_bundle(tmp_path / "B", Linear.random(modality), ("fp32",), {})
    out, err = run(EMBED, str(bundle.path), *damaged(tmp_path / "files"))
    foreign = [line for line in err.split("\n") if not OURS.match(line)]
    assert foreign == []
    codes = out.splitlines()[-1].split()[1:]
    assert set(codes) <= {"0", "2"}
    assert codes.count("2") >= len(codes) / 3
    lines = [line.split(" ", 1)[0] for line in err.split("\n")]
    assert lines.count("hint:") == lines.count("error:") == codes.count("2")


def test_the_reason_that_a_decoder_gives_is_told(tmp_path: Path) -> None:
    data = bytearray(picture(".png"))
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.png").write_bytes(data)
    bundle = write_bundle(tmp_path / "B", Linear.random(image(8)), ("fp32",), {})
    _, err = run(EMBED, str(bundle.path), str(tmp_path / "bad.png"))
    assert re.search(r"error: `.*bad\.png` is a truncated or corrupt png file of \d+ bytes: libpng error: ", err)


@pytest.mark.parametrize("name", ["video", "event", "image"])
def test_a_program_of_one_s_own_hears_nothing_of_films_and_recordings(name: str, tmp_path: Path) -> None:
    if name == "image":  # but for libpng and libjpeg, which have no setting
        for suffix in (".tiff", ".webp", ".bmp"):
            (tmp_path / f"whole{suffix}").write_bytes(picture(suffix))
    else:
        films(tmp_path) if name == "video" else recording(tmp_path / "whole.h5")
    out, err = run(READ, name, *damaged(tmp_path))
    assert err == ""
    assert out.count("refused") >= 5


def test_threads_that_decode_at_once_leave_stderr_as_it_was(tmp_path: Path) -> None:
    data = bytearray(picture(".png"))
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.png").write_bytes(data)
    out, err = run(THREADS, str(tmp_path / "bad.png"))
    assert err == "still here"
    assert out.startswith("200 [('libpng error: ")
