"""The training loop and what crafts for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from small_encoder import DIM, ConfigMaker, Small, make_centers, make_frames
from torch import Tensor

from advcal_edge.calibrate.adapters import AdaptedModule, attach_adapter, embed_all, trainable
from advcal_edge.calibrate.checkpoint import Checkpoint
from advcal_edge.calibrate.compute import Compute, computing
from advcal_edge.calibrate.config import AdapterConfig, ObjectiveConfig, TrainConfig
from advcal_edge.calibrate.craft import AdaptiveCrafter, StaticCrafter, frozen
from advcal_edge.calibrate.data.inputs import Kept
from advcal_edge.calibrate.gradient import BatchGradient, Part
from advcal_edge.calibrate.objectives import OBJECTIVES, Targets, Total
from advcal_edge.calibrate.train import TrainingSet, batches_of, load_parts, schedule, train
from advcal_edge.errors import ConfigError
from advcal_edge.progress import silent
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import thermal
from advcal_edge.threat import ThreatModel

CENTERS = make_centers()


def training_set(model: AdaptedModule) -> TrainingSet:
    frames, labels = make_frames(48, seed=5)
    x = torch.from_numpy(preprocess(thermal(8), frames))
    return TrainingSet(Kept(x), torch.from_numpy(labels), embed_all(model, x), None, embed_all(model, x.flip(-1)))


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_training_lowers_its_objective(kind: str, tmp_path: Path) -> None:
    model = attach_adapter(Small.load("thermal").module(), AdapterConfig("head+lora+norms"), DIM, seed=0)
    data = training_set(model)
    x = data.inputs.load(torch.arange(48))
    noise = torch.from_numpy(np.random.default_rng(0).uniform(-0.2, 0.2, x.shape).astype(np.float32))
    attacked = (x + noise).clamp(0, 1)

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
        compute=Compute(),
        workers=1,
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
            StaticCrafter(data.inputs.load(torch.arange(48))),
            Total(ObjectiveConfig(), CENTERS),
            TrainConfig(batch=16),
            compute=Compute(),
            workers=1,
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
    x = data.inputs.load(torch.arange(48))
    with frozen(trainable(model).values()):
        attacked = crafter(torch.arange(48), x, data.y, np.random.default_rng(0))
    assert seen
    assert not any(seen)
    assert trainable(model)
    assert all(value.grad is None for value in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert threat.distance(attacked, x).max() <= 0.05 + 1e-6
    scores: Tensor = CENTERS.scores(model(attacked))
    assert torch.nn.functional.cross_entropy(scores, data.y) > torch.nn.functional.cross_entropy(
        CENTERS.scores(model(x)), data.y
    )


def test_half_of_a_batch_is_mirrored_with_its_anchors(tmp_path: Path) -> None:
    model = AdaptedModule(Small.load("thermal").module())
    whole = training_set(model)
    x = whole.inputs.load(torch.arange(48))
    data = TrainingSet(whole.inputs, whole.y, whole.anchor, whole.partner)
    (batch,) = batches_of(48, 48, 3, np.random.default_rng(0), mirror=True)
    loaded = torch.cat([*load_parts(data.inputs, [batch], range(3), Compute(), 1)])
    flipped = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(loaded, x[batch.rows], strict=True)])
    assert torch.equal(flipped, batch.flip)
    assert 0.3 < flipped.float().mean() < 0.7
    torch.testing.assert_close(data.targets(batch, CENTERS, torch.device("cpu")).anchor, embed_all(model, loaded))
    assert torch.equal(loaded[~flipped], x[batch.rows][~flipped])
    assert torch.equal(whole.inputs.load(torch.arange(48)), x), "inputs in memory stay as they are"


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_batches_hold_each_sample_at_most_once(n: int, size: int, parts: int) -> None:
    size = min(size, n)
    parts = min(parts, size)
    batches = batches_of(n, size, parts, np.random.default_rng(0), mirror=False)
    rows = torch.cat([batch.rows for batch in batches]).tolist()
    assert len(set(rows)) == len(rows) == n // size * size
    for batch in batches:
        assert [row for place in batch.parts for row in range(size)[place]] == list(range(size))
        assert {place.stop - place.start for place in batch.parts} <= {size // parts, size // parts + 1}


@pytest.mark.parametrize("kind", OBJECTIVES)
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_parts_sum_to_the_gradient_of_the_batch(kind: str, parts: int) -> None:
    """Against autograd on the whole batch at once."""
    model = attach_adapter(Small.load("thermal").module(), AdapterConfig("head+lora+norms"), DIM, seed=0)
    data, total = training_set(model), Total(ObjectiveConfig(kind, "half"), CENTERS)
    (batch,) = batches_of(16, 16, parts, np.random.default_rng(0), mirror=False)
    targets = data.targets(batch, CENTERS, torch.device("cpu"))
    x = data.inputs.load(batch.rows)
    attacked = (x + 0.1).clamp(0, 1)
    parameters = [*trainable(model).values()]
    expected = total.loss(total.embed(model, attacked, x), targets)
    slopes = torch.autograd.grad(expected, parameters)
    pieces = [Part(place, attacked[place], x[place]) for place in batch.parts]
    with computing(torch.device("cpu"), cores=2) as compute:
        found = BatchGradient(model, parameters, total, compute)(pieces, parts, targets)
    torch.testing.assert_close(found, expected.detach())
    for parameter, slope in zip(parameters, slopes, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, slope, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_schedule(steps: int) -> None:
    factors = [schedule(step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    peak = factors.index(1)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
