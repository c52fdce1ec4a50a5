"""Which part of a run this process is, as the scheduler that started it says in the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from advcal_edge.errors import ConfigError
from advcal_edge.verify.shard import Shard

AUTO = "auto"
COMPLETIONS = "JOB_COMPLETIONS"
HINT = "name the part: `--shard 2/8`"
Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """The place that a scheduler gave this process: `index` from zero on, and how many there are, if it says so."""

    scheduler: str
    index: int
    count: int | None
    told: str
    """What the environment says, as text."""


def find_shard(text: str, environment: Environment = os.environ) -> tuple[Shard, str | None]:
    """The part that `--shard` names, and for `auto` or `auto/8` where its number was found.

    Raises:
        ConfigError: no such part, no scheduler that tells, several that do, or one that tells something else.
    """
    word, slash, number = text.strip().partition("/")
    if word != AUTO:
        return Shard.parse(text), None
    if slash and not re.fullmatch(r"[1-9][0-9]{0,5}", number):
        raise ConfigError(
            f"`--shard {text}` is no part of a run; expected `auto`, or `auto/8` with the number of parts"
        )
    wanted = int(number) if slash else None
    places = [place for place in (read(environment) for read in SCHEDULERS) if place is not None]
    several = [place for place in places if place.count != 1]  # one of one process is no part of anything
    if not places:
        raise ConfigError(
            "`--shard auto` found no scheduler: neither SLURM_ARRAY_TASK_ID, nor RANK and WORLD_SIZE, nor"
            " JOB_COMPLETION_INDEX is set",
            hint=HINT,
        )
    if len(several) > 1:
        raise ConfigError(
            f"`--shard auto` found {len(several)} schedulers: {'; '.join(place.told for place in several)}", hint=HINT
        )
    place = (several or places)[0]
    count = wanted or place.count
    if count is None:
        raise ConfigError(
            f"`--shard auto`: the environment says {place.told}, but not of how many",
            hint=f"say it: `--shard auto/8`, or set {COMPLETIONS}",
        )
    if place.count not in (None, count) or place.index >= count:
        raise ConfigError(f"`--shard {text}`: the environment says {place.told}; expected one of {count}", hint=HINT)
    return Shard(place.index + 1, count), f"{place.scheduler}: {place.told}"


def slurm_array(environment: Environment) -> Place | None:
    """A task of an array, `sbatch --array=1-8`, from any first number and in any step.

    Raises:
        ConfigError: numbers without a regular step, whose order the environment does not tell.
    """
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return None
    names = ("ID", "COUNT", "MIN", "MAX", "STEP")
    known = {"SLURM_ARRAY_TASK_STEP": "1", **environment}
    task, count, least, most, step = (number(known, f"SLURM_ARRAY_TASK_{name}") for name in names)
    told = f"SLURM_ARRAY_TASK_ID={task} of {count} from {least} to {most}"
    index, rest = divmod(task - least, max(step, 1))
    if count < 1 or rest or not 0 <= index < count or least + (count - 1) * max(step, 1) != most:
        raise ConfigError(f"`--shard auto`: {told} in steps of {step} is no regular array, like 1-8", hint=HINT)
    return Place("SLURM array", index, count, told)


def torchrun(environment: Environment) -> Place | None:
    """A process of torchrun, or of another launcher that sets the same variables.

    Raises:
        ConfigError: no numbers.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    rank, size = number(environment, "RANK"), number(environment, "WORLD_SIZE")
    return Place("torchrun", rank, size, f"RANK={rank} of WORLD_SIZE={size}")


def indexed_job(environment: Environment) -> Place | None:
    """A pod of an indexed job of Kubernetes, which is not told of how many; `JOB_COMPLETIONS` may say it.

    Raises:
        ConfigError: no numbers.
    """
    if "JOB_COMPLETION_INDEX" not in environment:
        return None
    index = number(environment, "JOB_COMPLETION_INDEX")
    count = number(environment, COMPLETIONS) if COMPLETIONS in environment else None
    told = f"JOB_COMPLETION_INDEX={index}" + ("" if count is None else f" of {COMPLETIONS}={count}")
    return Place("Kubernetes indexed job", index, count, told)


SCHEDULERS: tuple[Callable[[Environment], Place | None], ...] = (slurm_array, torchrun, indexed_job)


def number(environment: Environment, name: str) -> int:
    """A whole number, at least zero, from the environment.

    Raises:
        ConfigError: it is missing, or something else.
    """
    text = environment.get(name)
    if text is None or not re.fullmatch(r"[0-9]{1,9}", text):
        found = "not set" if text is None else f"`{text[:40]}`"
        raise ConfigError(f"`--shard auto`: {name} is {found}; expected a whole number", hint=HINT)
    return int(text)
