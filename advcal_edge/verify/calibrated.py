"""The reference under an attack at the threat model of the calibration's figures, where the run has another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from advcal_edge.attacks import PGD, AttackedModel, run_attack
from advcal_edge.report.calibration import Calibration
from advcal_edge.report.results import flag_text
from advcal_edge.report.value import Value
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.samples import BLOCK, HeldOut

ATTACK = PGD(steps=20)  # one attack of several: what the reference withstands is at most overstated


def attack_as_stated(
    reference: AttackedModel, samples: HeldOut, calibration: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Attack the samples that the calibration evaluated, at its own threat model; `calibration` is what it stated.

    None if the attacks of the run answer: in the same norm, at the same radius or a smaller one, where a model
    withstands no less.

    Raises:
        ConfigError: the reference has no gradient.
    """
    stated = Calibration.read(Value({**calibration, "attacked": None}, "calibration"), len(samples))
    if stated.answered_by(samples.threat.norm, samples.threat.eps):
        return None
    threat, n = ThreatModel.from_json(calibration["threat"]), min(len(samples), stated.worst.n)
    right = []
    for _, block in samples.blocks(range(-(-n // BLOCK))):
        outcome = run_attack(
            ATTACK, reference, block.x, block.y, threat, route="curve", seed=samples.seed, stream=block.first
        )
        right.append(~outcome.success)
    return {"attack": repr(ATTACK), "right": flag_text(np.concatenate(right)[:n])}
