"""How much bindlite withstands untreated: `python benchmarks/attack_bindlite.py --cache DIR`.

Plain PGD on the committed weights (arXiv:1706.06083): 20 steps of eps / 8 from one random start, a sample counting as
lost if any step is misclassified. Adds the figures to `benchmarks/bindlite.MODALITY.json`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from bindlite_training.figures import PER_PASS, Figures, embed, share
from bindlite_training.rendering import rendered
from bindlite_training.scenes import GALLERIES, SEEDS
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from advcal_edge.calibrate.data.builtin import basic_motions, fashion_mnist
from advcal_edge.encoders.bindlite import Bindlite
from advcal_edge.encoders.bindlite.encoder import MODALITIES, SCENE
from advcal_edge.runtime.sensors import preprocess

STEPS = 20
BUDGETS = (1, 2, 4)
"""In 255ths of the width of the bounds."""


def main() -> None:
    """Attack one modality, or all, and write what is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modality", choices=list(MODALITIES), action="append")
    parser.add_argument("--cache", type=Path, default=Path("scenes"), help="folder of `train_bindlite.py scene`")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for modality in args.modality or MODALITIES:
        encoder = Bindlite.load(modality)
        x, labels = held_out(modality, args.cache)
        few = np.random.default_rng(0).permutation(len(x))[: args.samples]
        found = {f"{n}/255": attacked(encoder, x[few], labels[few], n / 255) for n in BUDGETS}
        path = Path(__file__).with_name(f"bindlite.{modality}.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "pgd": found}, indent=2) + "\n")
        print(modality, *(f"{budget}: {figures['accuracy']:.3f}" for budget, figures in found.items()), flush=True)


def held_out(modality: str, cache: Path) -> tuple[Tensor, NDArray[np.int64]]:
    """The samples that the model card's accuracy is of."""
    if modality in SCENE:
        test = rendered(SEEDS["test"], GALLERIES[0], cache, 1)
        return test.batch(modality, slice(None)), test.labels.numpy()
    samples = fashion_mnist("test") if modality == "image" else basic_motions("test")
    return torch.from_numpy(preprocess(MODALITIES[modality], samples.frames)), samples.labels


def attacked(encoder: Bindlite, clean: Tensor, labels: NDArray[np.int64], part: float) -> Figures:
    """Accuracy where every value of `clean` (n, *shape) may move by `part` of the bounds' width."""
    trunk, centers, spec = encoder.module(), encoder.centers(), encoder.modality.input
    eps, y = part * spec.width, torch.from_numpy(labels)
    start = np.random.default_rng(0).uniform(-eps, eps, clean.shape).astype(np.float32)
    x_adv = (clean + torch.from_numpy(start)).clamp(*spec.bounds)
    right = torch.ones(len(y), dtype=torch.bool)
    for _ in range(STEPS):
        slopes = []
        for rows in torch.split(torch.arange(len(y)), PER_PASS):
            x = x_adv[rows].requires_grad_()
            scores = centers.scores(F.normalize(trunk(x), dim=-1))
            right[rows] &= scores.argmax(dim=-1) == y[rows]
            slopes.append(torch.autograd.grad(F.cross_entropy(scores, y[rows], reduction="sum"), x)[0])
        moved = x_adv + eps / 8 * torch.cat(slopes).sign()
        x_adv = (clean + (moved - clean).clamp(-eps, eps)).clamp(*spec.bounds)
    right &= centers.predict(embed(trunk, x_adv)) == y
    return {"n": len(y), **share(right.numpy())}


if __name__ == "__main__":
    main()
