"""The training loop and what crafts for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ConfigMaker
from small_encoder import DIM, Small, make_centers, make_frames
from torch import Tensor

from advcal_edge.calibrate.adapters import AdaptedModule, attach_adapter, embed_all, trainable
from advcal_edge.calibrate.checkpoint import Checkpoint
from advcal_edge.calibrate.config import AdapterConfig, ObjectiveConfig, TrainConfig
from advcal_edge.calibrate.objectives import OBJECTIVES, Targets, Total
from advcal_edge.calibrate.train import AdaptiveCrafter, StaticCrafter, TrainingSet, schedule, train
from advcal_edge.errors import ConfigError
from advcal_edge.progress import silent
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import thermal
from advcal_edge.threat import ThreatModel

CENTERS = make_centers()


def training_set(model: AdaptedModule) -> TrainingSet:
    frames, labels = make_frames(48, seed=5)
    x = torch.from_numpy(preprocess(thermal(8), frames))
    return TrainingSet(x, torch.from_numpy(labels), embed_all(model, x), None, embed_all(model, x.flip(-1)))


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_training_lowers_its_objective(kind: str, tmp_path: Path) -> None:
    model = attach_adapter(Small.load("thermal").module(), AdapterConfig("head+lora+norms"), DIM, seed=0)
    data = training_set(model)
    noise = torch.from_numpy(np.random.default_rng(0).uniform(-0.2, 0.2, data.x.shape).astype(np.float32))
    attacked = (data.x + noise).clamp(0, 1)

    def value() -> float:
        targets = Targets(data.y, data.anchor, CENTERS, data.partner)
        return OBJECTIVES[kind].loss(embed_all(model, attacked), targets).item()

    before = value()
    train(
        model,
        trainable(model),
        data,
        StaticCrafter(attacked),
        Total(ObjectiveConfig(kind, "half"), CENTERS),
        TrainConfig(batch=16),
        epochs=8,
        seed=0,
        checkpoint=Checkpoint.beside(tmp_path / "B", {}),
        resume=False,
        progress=silent,
    )
    assert value() < before


def test_divergence_is_an_error(tmp_path: Path) -> None:
    model = attach_adapter(Small.load("thermal").module(), AdapterConfig("lora"), DIM, seed=0)
    data = training_set(model)
    with pytest.raises(ConfigError, match="diverged in epoch 1"):
        train(
            lambda x: model(x) * torch.nan,
            trainable(model),
            data,
            StaticCrafter(data.x),
            Total(ObjectiveConfig(), CENTERS),
            TrainConfig(batch=16),
            epochs=1,
            seed=0,
            checkpoint=Checkpoint.beside(tmp_path / "B", {}),
            resume=False,
            progress=silent,
        )


def test_adaptive_crafting_touches_no_parameter(make_config: ConfigMaker) -> None:
    model = attach_adapter(Small.load("thermal").module(), AdapterConfig("head+lora+norms"), DIM, seed=0)
    data, threat = training_set(model), ThreatModel("linf", 0.05, (0.0, 1.0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    crafter = AdaptiveCrafter.build(make_config(), model, thermal(8).input, CENTERS, threat)
    seen: list[bool] = []
    model.register_forward_hook(lambda *_: seen.append(any(p.requires_grad for p in model.parameters())))
    attacked = crafter(torch.arange(48), data.x, data.y, np.random.default_rng(0))
    assert seen
    assert not any(seen)
    assert trainable(model)
    assert all(value.grad is None for value in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert threat.distance(attacked, data.x).max() <= 0.05 + 1e-6
    scores: Tensor = CENTERS.scores(model(attacked))
    assert torch.nn.functional.cross_entropy(scores, data.y) > torch.nn.functional.cross_entropy(
        CENTERS.scores(model(data.x)), data.y
    )


def test_half_of_a_batch_is_mirrored_with_its_anchors() -> None:
    model = AdaptedModule(Small.load("thermal").module())
    x = training_set(model).x
    y = torch.zeros(len(x), dtype=torch.int64)
    data = TrainingSet(x, y, embed_all(model, x), embed_all(model, x.flip(-1)))
    inputs, targets = data.take(torch.arange(len(x)), CENTERS, np.random.default_rng(0))
    flipped = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(inputs, x, strict=True)])
    assert 0.3 < flipped.float().mean() < 0.7
    torch.testing.assert_close(targets.anchor, embed_all(model, inputs))
    assert torch.equal(inputs[~flipped], x[~flipped])


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_schedule(steps: int) -> None:
    factors = [schedule(step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    peak = factors.index(1)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
