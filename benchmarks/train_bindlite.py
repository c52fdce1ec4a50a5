"""Train bindlite's trunks: `python benchmarks/train_bindlite.py scene --start thermal-alone.safetensors --cache DIR`.

`image` reads the original Fashion-MNIST files (Debian's package `dataset-fashion-mnist`), `imu` the committed
recordings; `scene` renders synthetic scenes and trains video, thermal, depth, audio, event and point together, from a
thermal trunk that `thermal` has trained alone. Ordinary, not robust, training. Writes the float16 weights next to the
encoder and the figures of the model card to `benchmarks/bindlite.MODALITY.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from bindlite_training import alone, clothes, motions, scenes
from bindlite_training.figures import Figures, write
from fashion_mnist_files import DEBIAN

from advcal_edge.encoders.bindlite.encoder import FOLDER


def main() -> None:
    """Train, round to float16, measure what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["image", "imu", "thermal", "scene"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, default=Path("thermal-alone.safetensors"), help="`thermal` writes it")
    parser.add_argument("--cache", type=Path, default=Path("scenes"), help="folder that keeps the rendered scenes")
    parser.add_argument("--data", type=Path, default=DEBIAN, help="folder of the Fashion-MNIST idx files")
    parser.add_argument("--processes", type=int, default=2, help="that render")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--figures", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    for figures in train(args):
        write(figures, args.figures)
        accuracy, (low, high) = figures["accuracy"], figures["interval"]
        print(f"{figures['modality']}: {accuracy:.3f} [{low:.3f}, {high:.3f}] of {figures['n']}")


def train(args: argparse.Namespace) -> list[Figures]:
    """What `args.what` names."""
    if args.what == "image":
        return clothes.train_clothes(args.data, args.out, clothes.EPOCHS, args.seed)
    if args.what == "imu":
        return motions.train_motions(args.out, motions.STEPS, args.seed)
    if args.what == "thermal":
        alone.train_alone(args.start, alone.SCENES, alone.EPOCHS, args.seed)
        return []
    return scenes.train_scenes(
        args.start, args.cache, args.out, scenes.SCENES, scenes.EPOCHS, args.seed, args.processes
    )


if __name__ == "__main__":
    main()
