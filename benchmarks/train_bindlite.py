"""Train one bindlite trunk from scratch: `python benchmarks/train_bindlite.py --modality image --seed 0`.

Ordinary, not robust, training: cross-entropy against the frozen text centers. Image reads the original Fashion-MNIST
files (Debian's package `dataset-fashion-mnist`); thermal generates its scenes. Writes the float16 weights next to the
encoder and the figures of the model card to `benchmarks/bindlite.MODALITY.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from fashion_mnist_files import DEBIAN, read_idx
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.calibrate.data.fashion_mnist import NAMES, fashion_mnist
from advcal_edge.calibrate.data.samples import Frame, Samples
from advcal_edge.centers import Centers
from advcal_edge.encoders.bindlite.encoder import FOLDER, MODALITIES
from advcal_edge.encoders.bindlite.trunk import IMAGE, THERMAL, Trunk
from advcal_edge.runtime.preprocess import preprocess
from advcal_edge.spec import Modality
from advcal_edge.stats import wilson

BATCH = 64
EPOCHS = {"image": 5, "thermal": 10}
SHIFT = {"image": 2, "thermal": 0}  # raw pixels; thermal scenes place their objects at random already
THERMAL_SEEDS = {"train": 10_000_019, "test": 20_000_003}  # far from the small seeds that calibration uses


def training_data(modality: str, folder: Path, scenes: int) -> Samples:
    """All that the trunk learns from."""
    if modality == "image":
        images, labels = read_idx(folder, "train")
        return Samples(tuple(images), labels, NAMES, "Fashion-MNIST train", "MIT")
    from advcal_edge.calibrate.data.thermal_scenes import thermal_scenes

    return thermal_scenes(THERMAL_SEEDS["train"], scenes)


def test_data(modality: str) -> Samples:
    """A thousand held-out samples."""
    if modality == "image":
        return fashion_mnist("test")
    from advcal_edge.calibrate.data.thermal_scenes import thermal_scenes

    return thermal_scenes(THERMAL_SEEDS["test"], 1000)


def augment(frame: Frame, reach: int, rng: np.random.Generator) -> Frame:
    """Mirror half of the frames and shift each by up to `reach` raw pixels."""
    if rng.random() < 0.5:
        frame = frame[:, ::-1]
    top, left = rng.integers(0, 2 * reach + 1, 2)
    grown = cv2.copyMakeBorder(np.ascontiguousarray(frame), *[reach] * 4, cv2.BORDER_REPLICATE)
    return grown[top : top + frame.shape[0], left : left + frame.shape[1]]


def tensors(modality: Modality, frames: list[Frame]) -> Tensor:
    """Through the product's own preprocessing."""
    return torch.from_numpy(preprocess(modality, frames))


def train(trunk: Trunk, data: Samples, modality: Modality, centers: Centers, epochs: int, seed: int) -> None:
    """AdamW with a short warm-up and a cosine to zero."""
    rng = np.random.default_rng(seed)
    steps = epochs * (len(data) // BATCH)
    optimizer = torch.optim.AdamW(trunk.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    labels = torch.from_numpy(data.labels)
    for epoch in range(epochs):
        total, started, order = 0.0, time.perf_counter(), rng.permutation(len(data))
        for at in range(0, len(data) - BATCH + 1, BATCH):
            index = order[at : at + BATCH]
            x = tensors(modality, [augment(data.frames[i], SHIFT[modality.name], rng) for i in index])
            loss = F.cross_entropy(centers.scores(F.normalize(trunk(x), dim=-1)), labels[index])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trunk.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        mean = total / (len(data) // BATCH)
        print(f"epoch {epoch + 1}/{epochs}: loss {mean:.4f}, {time.perf_counter() - started:.0f} s", flush=True)


def predictions(trunk: nn.Module, data: Samples, modality: Modality, centers: Centers) -> NDArray[np.int64]:
    """Labels (n,) of all frames."""
    found: list[Tensor] = []
    with torch.no_grad():
        for at in range(0, len(data), 500):
            found.append(centers.predict(trunk(tensors(modality, list(data.frames[at : at + 500])))))
    return torch.cat(found).numpy()


def machine() -> str:
    """The processor, as Linux names it, and the threads used."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].split(":", 1)[1].strip() if names else platform.machine()
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main() -> None:
    """Train, round to float16, measure what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modality", choices=list(MODALITIES), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="5 for image, 10 for thermal")
    parser.add_argument("--scenes", type=int, default=16_000, help="thermal training frames")
    parser.add_argument("--data", type=Path, default=DEBIAN, help="folder of the Fashion-MNIST idx files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    epochs = args.epochs or EPOCHS[args.modality]
    modality = MODALITIES[args.modality]
    centers = Centers.load(FOLDER / f"{args.modality}.centers.safetensors")
    trunk = Trunk(IMAGE if args.modality == "image" else THERMAL)
    data = training_data(args.modality, args.data, args.scenes)
    started = time.perf_counter()
    train(trunk, data, modality, centers, epochs, args.seed)
    seconds = time.perf_counter() - started

    half = {name: tensor.half() for name, tensor in trunk.state_dict().items()}
    (args.out / f"{args.modality}.safetensors").write_bytes(save(half))
    trunk.load_state_dict({name: tensor.float() for name, tensor in half.items()})
    held_out = test_data(args.modality)
    right = predictions(trunk.eval(), held_out, modality, centers) == held_out.labels
    figures: dict[str, Any] = {
        "modality": args.modality,
        "seed": args.seed,
        "epochs": epochs,
        "trained_on": f"{len(data)} of {data.source}",
        "tested_on": held_out.source,
        "n": len(held_out),
        "accuracy": float(right.mean()),
        "interval": wilson(int(right.sum()), len(held_out)).to_json(),
        "accuracy_by_class": {name: float(right[held_out.labels == k].mean()) for k, name in enumerate(held_out.names)},
        "parameters": sum(parameter.numel() for parameter in trunk.parameters()),
        "seconds": round(seconds, 1),
        "machine": machine(),
    }
    text = json.dumps(figures, indent=2)
    Path(__file__).with_name(f"bindlite.{args.modality}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
