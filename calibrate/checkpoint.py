"""State of the training after each epoch, in a folder next to the future bundle: an interrupt costs one epoch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.lock import hold
from advcal_edge.storage import is_temporary, write_atomic
from advcal_edge.tensors import Complaint, open_tensors

STATE = "state.safetensors"  # tensors, with their settings in the metadata: one file, so it is complete or absent
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of a parameter
DAMAGED = Complaint(BundleError, "is damaged", "leave out `--resume` to start over")

BRIEFLY = 1.0  # seconds; a calibration takes minutes, and only a check of the lock ends sooner


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Path of the state of one calibration; `identity` must not change between a run and its resumption."""

    folder: Path
    identity: Mapping[str, Any]

    @classmethod
    def beside(cls, out: Path, identity: Mapping[str, Any]) -> Checkpoint:
        """In `OUT.partial/`."""
        return cls(partial_folder(out), identity)

    def save(self, epoch: int, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        """Write the state after `epoch` whole epochs.

        Raises:
            BundleError: the disk cannot be written.
        """
        tensors = {f"parameter.{name}": value.detach() for name, value in parameters.items()}
        for index, slot in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in slot.items()}
        metadata = {"epoch": str(epoch), "identity": json.dumps(self.identity)}
        write_atomic(self.folder / STATE, save({k: v.cpu().contiguous().clone() for k, v in tensors.items()}, metadata))

    def load(self, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> int:
        """Restore a saved state and return its number of epochs.

        Raises:
            ConfigError: nothing was saved, or by a calibration with other settings; the message names them.
            BundleError: the state is damaged.
        """
        path = self.folder / STATE
        if not path.is_file():
            raise ConfigError(f"`--resume` finds no `{path}`: nothing to resume", hint="leave out `--resume`")
        with open_tensors(path, "pt", DAMAGED) as file:
            self._check_identity(file.document("identity"))
            epoch, tensors = file.metadata.get("epoch", ""), {name: file.tensor(name) for name in file.names}
        if not (epoch.isascii() and epoch.isdigit() and len(epoch) <= 9):
            raise DAMAGED.of(path, f"`epoch` is {epoch[:20]!r}; expected a whole number")
        for name, value in parameters.items():
            if not same(tensors.get(f"parameter.{name}"), value):
                raise DAMAGED.of(path, f"`parameter.{name}` is missing, or of another shape or type than it trains")
        slots = moments(tensors, [value for group in optimizer.param_groups for value in group["params"]])
        if slots is None:
            raise DAMAGED.of(path, "the optimizer's numbers do not fit the parameters")
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(tensors[f"parameter.{name}"])
        optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        return int(epoch)

    def exists(self) -> bool:
        """Is there a state to resume from?"""
        return (self.folder / STATE).is_file()

    def remove(self) -> None:
        """Delete the state, which the bundle replaces."""
        (self.folder / STATE).unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _check_identity(self, found: Mapping[str, Any]) -> None:
        before, now = flatten(found), flatten(json.loads(json.dumps(self.identity)))
        differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        if differing:
            changes = ", ".join(f"`{key}` was {before.get(key)}, is {now.get(key)}" for key in differing[:5])
            raise ConfigError(
                f"`--resume` needs the settings of the interrupted calibration; {changes}",
                hint="give the same settings, or leave out `--resume` to start over",
            )


def partial_folder(out: Path) -> Path:
    """Path of the state of a calibration to `out`: `OUT.partial/`."""
    return out.with_name(f"{out.name}.partial")


@contextmanager
def reserved(out: Path) -> Iterator[None]:
    """Be the only calibration to `out` until the block ends; unfinished files of killed ones are removed.

    Folders that were made only for the lock are removed too if they stay empty.

    Raises:
        BundleInUseError: another process calibrates to it.
    """
    folder = partial_folder(out)
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        with hold(folder, wait=BRIEFLY):
            for path in folder.iterdir() if folder.is_dir() else ():
                if is_temporary(path, STATE):
                    path.unlink(missing_ok=True)
            yield
    finally:
        with suppress(OSError):  # it is not empty
            for parent in made:
                parent.rmdir()


def moments(tensors: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]) -> dict[int, dict[str, Tensor]] | None:
    """AdamW's state of each parameter, by its index; None if it cannot come from AdamW."""
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, place = name.partition(".")
        index, _, key = place.partition(".")
        if kind == "optimizer":
            if index not in map(str, range(len(parameters))) or key not in MOMENTS:
                return None
            slots.setdefault(int(index), {})[key] = tensor
    for number, slot in slots.items():
        step = slot.get("step")
        if slot.keys() != set(MOMENTS) or step is None or step.numel() != 1 or not 1 <= float(step) < 2**24:
            return None
        if not all(same(slot[key], parameters[number]) for key in MOMENTS[1:]):
            return None
    return slots


def same(found: Tensor | None, parameter: Tensor) -> bool:
    """Does a tensor have the shape and the dtype of a parameter?"""
    return found is not None and found.shape == parameter.shape and found.dtype == parameter.dtype


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings; keys are joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
