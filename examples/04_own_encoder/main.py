"""Calibrate and export an encoder of your own."""

import sys
from pathlib import Path

import cv2

from advcal_edge.calibrate.data.builtin import fashion_mnist
from advcal_edge.cli import main as advcal_edge

OWN = ("--encoder", "contrast:contrast")
SMALL = ("--set", "train.samples=64", "--set", "train.epochs=1", "--set", "evaluate.steps=3")


def write_frames(folder: Path) -> None:
    """Stand-in for your own recording: 40 frames of each of two classes, a folder each."""
    samples = fashion_mnist("train")
    for name in ("sneaker", "dress"):
        (folder / name).mkdir(parents=True)
        rows = [row for row, label in enumerate(samples.labels) if samples.names[label] == name][:40]
        for row in rows:
            cv2.imwrite(str(folder / name / f"{row}.png"), samples.frames[row])


def run(*arguments: str) -> None:
    """One command, which must succeed."""
    print("$ advcal-edge", *arguments, flush=True)
    if code := advcal_edge(arguments):
        sys.exit(code)


def main(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent))  # on the command line: PYTHONPATH=examples/04_own_encoder
    frames, bundle = folder / "frames", str(folder / "bundle")
    write_frames(frames)
    run("calibrate", "--modality", "image", *OWN, "--data", str(frames), "--out", bundle, "--samples", "24", *SMALL)
    run("inspect", bundle)  # says which code the bundle would load
    run("export", bundle, "--precision", "fp32", *OWN)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
