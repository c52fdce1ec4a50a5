"""`--shard auto`: the part of a run that a scheduler gave this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import BundleMaker

from advcal_edge.cli import main
from advcal_edge.errors import ConfigError
from advcal_edge.verify import Shard
from advcal_edge.verify.scheduler import find_shard

VARIABLES = ("SLURM_ARRAY_TASK_ID", "RANK", "WORLD_SIZE", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS")


def slurm(task: int, count: int, least: int, most: int, step: int = 1) -> dict[str, str]:
    numbers = {"ID": task, "COUNT": count, "MIN": least, "MAX": most, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in numbers.items()}


TORCHRUN = {"RANK": "2", "WORLD_SIZE": "4"}
POD = {"JOB_COMPLETION_INDEX": "4"}


@pytest.mark.parametrize(
    ("text", "environment", "shard", "scheduler"),
    [
        ("2/8", TORCHRUN, Shard(2, 8), None),
        ("auto", slurm(3, 8, 1, 8), Shard(3, 8), "SLURM array"),
        ("auto", slurm(0, 8, 0, 7), Shard(1, 8), "SLURM array"),
        ("auto", slurm(14, 4, 10, 16, 2), Shard(3, 4), "SLURM array"),
        ("auto/8", slurm(8, 8, 1, 8), Shard(8, 8), "SLURM array"),
        ("auto", {k: v for k, v in slurm(3, 8, 1, 8).items() if "STEP" not in k}, Shard(3, 8), "SLURM array"),
        ("auto", TORCHRUN, Shard(3, 4), "torchrun"),
        ("auto/5", POD, Shard(5, 5), "Kubernetes indexed job"),
        ("auto", {**POD, "JOB_COMPLETIONS": "9"}, Shard(5, 9), "Kubernetes indexed job"),
        ("auto", {**slurm(2, 8, 1, 8), "RANK": "0", "WORLD_SIZE": "1"}, Shard(2, 8), "SLURM array"),
        ("auto", {"RANK": "0", "WORLD_SIZE": "1"}, Shard(1, 1), "torchrun"),
    ],
)
def test_the_part_is_the_one_that_the_scheduler_says(
    text: str, environment: dict[str, str], shard: Shard, scheduler: str | None
) -> None:
    found, source = find_shard(text, environment)
    assert found == shard
    assert source is None if scheduler is None else (source or "").startswith(f"{scheduler}: ")


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("auto", {}, "found no scheduler"),
        ("auto", {"RANK": "1"}, "found no scheduler"),
        ("auto/", TORCHRUN, "is no part of a run"),
        ("auto/0", TORCHRUN, "is no part of a run"),
        ("automatic", TORCHRUN, "is no part of a run"),
        ("auto", {**slurm(3, 8, 1, 8), **TORCHRUN}, "found 2 schedulers"),
        ("auto/3", TORCHRUN, "expected one of 3"),
        ("auto/8", slurm(5, 1, 5, 5), "expected one of 8"),  # one task that is run again is no array of one
        ("auto", slurm(7, 3, 1, 7), "is no regular array"),  # --array=1,3,7
        ("auto", {"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_COUNT is not set"),
        ("auto", {"RANK": "-1", "WORLD_SIZE": "4"}, "RANK is `-1`"),
        ("auto", {"RANK": "4", "WORLD_SIZE": "4"}, "expected one of 4"),
        ("auto", POD, "not of how many"),
        ("auto/4", POD, "expected one of 4"),
    ],
)
def test_what_a_scheduler_does_not_say_is_not_guessed(text: str, environment: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        find_shard(text, environment)


def test_the_command_says_which_scheduler_it_took(
    make_bundle: BundleMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, state = make_bundle(), tmp_path / "state"
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    command = ["verify", str(bundle.path), "--reference", "onnx", "--state", str(state)]
    assert main([*command, "--shard", "auto"]) == 2
    assert "`--shard auto` found no scheduler" in capsys.readouterr().err
    for index in range(2):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
        assert main([*command, "--shard", "auto/2"]) == 0
        told = f"shard {index + 1}/2, from Kubernetes indexed job: JOB_COMPLETION_INDEX={index}"
        assert told in capsys.readouterr().err
    assert main(["verify", str(bundle.path), "--merge", "--state", str(state)]) in (0, 1)
