"""Operations of a whole calibration, at most: preparation, crafting, training, measurements.

They are products of counted passes (`passes.py`) and of the numbers of passes that the settings lead to. It is an upper
bound: a data set may hold fewer samples than `train.samples` and `evaluate.samples`, and attacks leave samples that are
fooled. Not counted are norms, softmax, products with the centers, and what is done once: decompositions and the filter
of an adapter, and trying the encoder on two samples.
"""

from __future__ import annotations

from dataclasses import dataclass

from advcal_edge.attacks import PGD
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.data.builtin import SCENES_HELD_OUT
from advcal_edge.calibrate.data.source import HELD_OUT
from advcal_edge.calibrate.evaluate import most_passes
from advcal_edge.calibrate.objectives import OBJECTIVES, attack_loss
from advcal_edge.calibrate.passes import Passes, Source, frozen_pass, passes_of
from advcal_edge.encoders.bindlite import PARTNER
from advcal_edge.encoders.operations import Pass


@dataclass(frozen=True, slots=True)
class Work:
    """Operations of a calibration by what they are for."""

    preparing: float = 0
    """Clean embeddings of the training samples and of partners."""
    crafting: float = 0
    """Attacks of the training."""
    training: float = 0
    """Losses and gradients."""
    measuring: float = 0
    """Attacks and ranks, before and after."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.preparing + self.crafting + self.training + self.measuring

    def __add__(self, other: Work) -> Work:
        return Work(
            self.preparing + other.preparing,
            self.crafting + other.crafting,
            self.training + other.training,
            self.measuring + other.measuring,
        )


def work_of(config: CalibrateConfig) -> Work:
    """The operations of one calibration.

    Raises:
        AdvcalError: as for `passes_of`.
    """
    source: Source = (config.encoder, config.modality, config.weights)
    static_head = config.craft.kind == "static" and config.adapter.parts == ("head",)
    batch, parts = config.train.batch_of(config.train.samples)
    clean = bool(config.objective.clean_terms)
    passes = passes_of(source, config.adapter, -(-batch // parts) * (1 + clean), on_features=static_head)
    preparing, measuring = _preparing(config, source, passes), _measuring(config, source, passes)
    if not passes.trains:
        return Work(preparing, measuring=measuring)
    n, steps = config.train.samples, config.train.samples // batch
    epochs = config.train.cached_epochs if static_head else config.train.epochs
    training = epochs * steps * batch * (1 + clean) * passes.training
    couples = any(OBJECTIVES[term].couples for term in config.objective.terms)
    if couples and parts > 1 and not static_head:  # the whole batch is embedded first
        training += epochs * steps * batch * (1 + clean) * passes.adapted.forward
    loss = attack_loss(config.objective)
    if config.craft.kind == "adaptive":
        attack = PGD(steps=config.craft.steps, loss=loss, select="last")
        crafting = epochs * steps * (batch * _cost(attack.most_passes, passes.adapted) + passes.merging)
    else:
        forward, both = PGD(steps=config.craft.static_steps, loss=loss, select="strongest").most_passes
        crafting = n * _cost((forward + 1, both), passes.adapted) + passes.merging  # `run_attack` judges
        if static_head:
            preparing += 2 * n * passes.frozen.forward  # features of clean and of attacked samples
    return Work(preparing, crafting, training, measuring)


def _preparing(config: CalibrateConfig, source: Source, passes: Passes) -> float:
    """Anchors, also of mirrored samples."""
    total = config.train.samples * (1 + config.train.mirror) * passes.frozen.forward
    partner = _partner(config)
    if partner is not None and "partner" in config.objective.terms:
        total += config.train.samples * frozen_pass((config.encoder, partner, config.weights)).forward
    return total


def _measuring(config: CalibrateConfig, source: Source, passes: Passes) -> float:
    """Both modules under all attacks, the embeddings of the held-out samples, and those of their partners."""
    partner = _partner(config)
    before, after = most_passes(config.evaluate, paired=partner is not None)
    total = min(config.evaluate.samples, HELD_OUT) * (_cost(before, passes.frozen) + _cost(after, passes.adapted))
    held_out = HELD_OUT if config.data.path else min(max(config.evaluate.samples, SCENES_HELD_OUT), HELD_OUT)
    total += held_out * passes.adapted.forward  # the anchor
    if partner is not None:
        total += held_out * frozen_pass((config.encoder, partner, config.weights)).forward
    return total


def _partner(config: CalibrateConfig) -> str | None:
    """Modality of the samples' partners."""
    built_in = config.encoder == "bindlite" and config.data.path is None
    return PARTNER.get(config.modality) if built_in else config.data.pairs


def _cost(passes: tuple[int, int], each: Pass) -> float:
    return passes[0] * each.forward + passes[1] * each.both
