"""A reference in torch: an encoder, built in or made by the user's factory, whose gradient torch computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.compute import choose_device
from advcal_edge.calibrate.deploy import runner_on
from advcal_edge.centers import Centers
from advcal_edge.encoders.base import Encoder, fit_sensor, open_encoder
from advcal_edge.encoders.check import check_module, checked_centers
from advcal_edge.pair.options import PairOptions
from advcal_edge.spec import Modality
from advcal_edge.verify.model_set import BATCH

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class EncoderReference:
    """An encoder by its name, and the centers that it brings."""

    encoder: Encoder
    options: PairOptions
    centers: Centers | None

    @classmethod
    def open(cls, options: PairOptions) -> EncoderReference:
        """Run the factory; logits need no centers.

        Raises:
            ConfigError: no such encoder, one that is not as the protocol says, or settings that its sensor lacks.
            InputError: a checkpoint that cannot be used.
        """
        encoder = fit_sensor(open_encoder(options.reference, options.modality, options.weights), options.settings)
        return cls(encoder, options, None if options.kind == "classifier" else checked_centers(encoder))

    @property
    def modality(self) -> Modality:
        """The encoder's input."""
        return self.encoder.modality

    @property
    def sees(self) -> bool:
        """Torch computes its gradient."""
        return True

    def embed(self, x: Floats) -> Floats:
        """Check the module on two samples, and run it on x (n, ...).

        Raises:
            ConfigError: it fails, its outputs cannot be relied on, or the device is not there.
        """
        import torch

        device = choose_device(self.options.device)
        module = check_module(self.encoder, torch.from_numpy(x[:2]).to(device)).requires_grad_(False)
        runner = runner_on(device, module, self.modality.input)
        return np.concatenate([runner(x[start : start + BATCH]) for start in range(0, len(x), BATCH)])

    def sections(self) -> Mapping[str, Any]:
        """The encoder, as in a calibrated bundle, so that the same consent is asked for it."""
        options, encoder = self.options, self.encoder
        return {
            "comparison": {"reference": options.reference, "graph": None},
            "encoder": {
                "name": options.reference,
                "modality": encoder.modality.name,
                "weights": None if options.weights is None else str(options.weights),
                "weights_sha256": encoder.fingerprint,
                "license": encoder.license,
                "metadata": dict(encoder.metadata),
            },
        }

    def files(self) -> Mapping[str, bytes]:
        """Nothing: neither code nor weights are copied."""
        return {}
