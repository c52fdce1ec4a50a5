"""From folders of frames to an engine that labels them."""

import sys
from pathlib import Path

import cv2

from advcal_edge.calibrate.data.builtin import fashion_mnist
from advcal_edge.cli import main as advcal_edge

CLASSES, EACH = ("sneaker", "bag", "dress"), 40


def write_frames(folder: Path) -> None:
    """Stand-in for your own recording: frames of three classes, a folder each."""
    samples = fashion_mnist("train")
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        rows = [i for i, label in enumerate(samples.labels) if samples.names[label] == name][:EACH]
        for row in rows:
            cv2.imwrite(str(folder / name / f"{row}.png"), samples.frames[row])


def run(*arguments: str) -> None:
    """One command, which must succeed."""
    print("$ advcal-edge", *arguments, flush=True)
    if code := advcal_edge(arguments):
        sys.exit(code)


def main(folder: Path) -> None:
    frames, bundle = folder / "frames", str(folder / "bundle")
    write_frames(frames)
    small = ["--set", "train.samples=64", "--set", "train.epochs=1", "--set", "evaluate.steps=3"]
    run("calibrate", "--modality", "image", "--data", str(frames), "--out", bundle, "--samples", "24", *small)
    run("export", bundle, "--precision", "fp32", "--no-gradient")
    run("inspect", bundle)
    run("embed", bundle, *(str(next((frames / name).iterdir())) for name in CLASSES))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
