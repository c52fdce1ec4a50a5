"""The state of an interrupted calibration: taken as it was written, or refused as damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from mutations import mutated_tensors, outcome
from safetensors.torch import load, save
from torch import Tensor, nn

from advcal_edge.calibrate.checkpoint import STATE, Checkpoint
from advcal_edge.errors import BundleError, ConfigError

IDENTITY = {"seed": 3, "train": {"batch": 16}}
Numbers = dict[str, Tensor]


def trained(steps: int) -> tuple[dict[str, nn.Parameter], torch.optim.Optimizer]:
    """A small map and its optimizer after some steps; the head's parameters form the second group."""
    parameters = dict(nn.Linear(3, 2).named_parameters())
    groups = [{"params": [parameters["bias"]], "peak": 0.1}, {"params": [parameters["weight"]], "peak": 0.2}]
    optimizer = torch.optim.AdamW(groups)
    for _ in range(steps):
        step(parameters, optimizer)
    return parameters, optimizer


def step(parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss = torch.stack([value.square().sum() for value in parameters.values()]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def stored(folder: Path) -> bytes:
    """A state of two epochs."""
    Checkpoint(folder, IDENTITY).save(2, *trained(2))
    return (folder / STATE).read_bytes()


def go_on(path: Path) -> int:
    """Take the state up and train one step more."""
    parameters, optimizer = trained(0)
    epoch = Checkpoint(path.parent, IDENTITY).load(parameters, optimizer)
    step(parameters, optimizer)
    return epoch


def test_a_state_comes_back_to_the_bit(tmp_path: Path) -> None:
    checkpoint, (parameters, optimizer) = Checkpoint(tmp_path, IDENTITY), trained(2)
    checkpoint.save(2, parameters, optimizer)
    again, other = trained(0)
    assert checkpoint.load(again, other) == 2
    for values, steps in ((parameters, optimizer), (again, other)):
        step(values, steps)
    assert all(torch.equal(parameters[name], again[name]) for name in parameters)


@pytest.mark.parametrize(
    "change",
    [
        lambda numbers: numbers.pop("parameter.weight"),
        lambda numbers: numbers.update({"parameter.weight": torch.zeros(3, 2)}),
        lambda numbers: numbers.update({"parameter.weight": torch.zeros(2, 3, dtype=torch.int64)}),
        lambda numbers: numbers.pop("optimizer.0.step"),
        lambda numbers: numbers.update({"optimizer.0.step": torch.tensor(-1.0)}),
        lambda numbers: numbers.update({"optimizer.0.step": torch.tensor(torch.nan)}),
        lambda numbers: numbers.update({"optimizer.0.step": torch.ones(2)}),
        lambda numbers: numbers.update({"optimizer.1.exp_avg": torch.zeros(7)}),
        lambda numbers: numbers.update({"optimizer.9.exp_avg": torch.zeros(2)}),
        lambda numbers: numbers.update({"optimizer.x.exp_avg": torch.zeros(2)}),
        lambda numbers: numbers.update({"optimizer.1.momentum": torch.zeros(2)}),
    ],
)
def test_numbers_that_do_not_fit(change: Callable[[Numbers], object], tmp_path: Path) -> None:
    data = stored(tmp_path)
    length = int.from_bytes(data[:8], "little")
    numbers = load(data)
    change(numbers)
    (tmp_path / STATE).write_bytes(save(numbers, json.loads(data[8 : 8 + length])["__metadata__"]))
    with pytest.raises(BundleError, match="is damaged") as caught:
        go_on(tmp_path / STATE)
    assert caught.value.hint == "leave out `--resume` to start over"


@pytest.mark.parametrize(
    "metadata",
    [{"epoch": "2"}, {"identity": "[]", "epoch": "2"}, {"identity": "{", "epoch": "2"}]
    + [{"identity": json.dumps(IDENTITY), "epoch": epoch} for epoch in ("", "-1", "2.0", "x", "9" * 10)],
)
def test_metadata_that_no_run_writes(metadata: dict[str, str], tmp_path: Path) -> None:
    numbers = load(stored(tmp_path))
    (tmp_path / STATE).write_bytes(save(numbers, metadata))
    with pytest.raises(BundleError, match="is damaged"):
        go_on(tmp_path / STATE)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_damage_is_said_in_words(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged.partial"
    (folder / STATE).write_bytes(data.draw(mutated_tensors(stored(folder))))
    outcome(go_on, folder / STATE, BundleError, ConfigError)
