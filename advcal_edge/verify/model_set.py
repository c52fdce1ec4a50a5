"""The models of a run: the reference, the engines under test, and sources of adversarial inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import Attack, AttackedModel, Transfer, expected_model
from advcal_edge.attacks.base import to_numpy
from advcal_edge.errors import EngineError

REFERENCE, ENGINE = "reference", "engine"
CALLS = 8  # averaged for an engine that answers differently each time (expectation over transformation)
BATCH = 250  # samples per call, so that activations of large encoders fit into memory


@dataclass(frozen=True, slots=True, eq=False)
class ModelSet:
    """Engines by name, and sources by name; an engine may be a source for the other engines under the same name."""

    reference: AttackedModel
    engines: Mapping[str, AttackedModel]
    sources: Mapping[str, AttackedModel] = field(default_factory=dict)
    builds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For each rebuilt engine, the engine that each further build is; the same one if the bytes are equal."""

    @property
    def all(self) -> dict[str, AttackedModel]:
        """Every model once, by name."""
        return {REFERENCE: self.reference, **self.sources, **self.engines}

    @property
    def judges(self) -> list[str]:
        """Names of the models that judge every input: the reference and the engines."""
        return [REFERENCE, *self.engines]

    def has_difference(self, engine: str) -> bool:
        """Do reference and engine both have gradients, so that their difference can be attacked?"""
        return None not in (self.reference.gradient, self.engines[engine].gradient)

    def others(self, engine: str) -> list[str]:
        """Names of the sources whose inputs are tried on `engine`."""
        return [name for name in self.sources if name != engine]

    def check(self, x: NDArray[np.float32]) -> None:
        """Run one sample x (1, ...) through every model.

        Raises:
            EngineError: an embedding of another width than the centers.
        """
        for name, model in self.all.items():
            shape, width = embed(model, x).shape, model.centers.dim
            if shape != (1, width):
                raise EngineError(f"{name} gives embeddings {shape}; the centers of this bundle are {width} wide")


def wrap_attack(attack: Attack, model: AttackedModel) -> Attack:
    """Return the attack; for a random model, the attack on its mean answers. Single answers decide if it won."""
    return attack if model.calls == 1 else Transfer(expected_model(model, model.calls), attack)


def embed(model: AttackedModel, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings (n, d) on the host, in batches."""
    starts = range(0, max(len(x), 1), BATCH)
    parts = [to_numpy(model.runner(model.place(x[start : start + BATCH]))) for start in starts]
    return np.concatenate(parts).astype(np.float32, copy=False)


def predict(model: AttackedModel, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Labels (n,) that the model predicts."""
    labels: NDArray[np.int64] = model.centers.predict(embed(model, x)).astype(np.int64)
    return labels
