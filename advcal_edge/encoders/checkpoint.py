"""Reading the published checkpoints of others: only the tensors one trunk needs, and never code.

A checkpoint of five gigabytes holds six trunks. It is mapped, not read, so that only the pages of the wanted tensors
leave the disk; and it is mapped anew for each span of tensors, because pages of a map count as memory until it closes.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import shlex
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from advcal_edge.errors import InputError

SPANS = 10
"""How often the file is mapped anew: so small a share of the wanted bytes is ever in memory twice."""

WRAPPERS = ("state_dict", "model")
NAMED = 4  # keys an error spells out; the rest are counted


def read_tensors(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """The tensors whose name is wanted, copied out of the checkpoint at `path` (.pth, .pt, .bin or .safetensors).

    `{"state_dict": ...}` and `{"model": ...}` are unwrapped before names are asked for.

    Raises:
        InputError: no such file, not whole, in torch's old format, a pickle with code in it, no dictionary of tensors,
            no wanted name, or a wanted tensor of floating point other than float32.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint `{path}`")
    opened = _open_safetensors if path.suffix == ".safetensors" else _open_torch
    with opened(path) as tensors:
        names = sorted(filter(wanted, tensors))
        if not names:
            some = _listed(sorted(tensors)) or "nothing"
            raise InputError(f"`{path}` holds none of the tensors this encoder is made of; found {some}")
        for name in names:
            _check_precision(path, name, tensors[name])
        names.sort(key=lambda name: tensors[name].data_ptr())  # as they lie in the file, which is then read in one go
        spans = _spans({name: tensors[name].nbytes for name in names})
    found: dict[str, Tensor] = {}
    for span in spans:
        with opened(path) as mapped:
            found |= {name: mapped[name].detach().clone(memory_format=torch.contiguous_format) for name in span}
    return found


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash (sha256, hexadecimal) over name, dtype, shape and bytes of every tensor, in the order of their names."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def load_exactly(
    module: nn.Module, tensors: Mapping[str, Tensor], where: str, names: Mapping[str, str] | None = None
) -> None:
    """Make `tensors` the parameters and buffers of `module`, which may be on the meta device: they are not copied.

    `names` gives the module's names, each with its name in `tensors`, where the two differ.

    Raises:
        InputError: names are missing or left over, or shapes differ; the message counts them and names the first.
    """
    state = module.state_dict()
    names = names or {name: name for name in state}
    expected = {names[name]: tensor.shape for name, tensor in state.items()}
    shapes = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    complaints = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "left over": sorted(tensors.keys() - expected.keys()),
        "of another shape": shapes,
    }
    found = [f"{len(keys)} {what} ({_listed(keys)})" for what, keys in complaints.items() if keys]
    if found:
        raise InputError(f"the tensors of {where} do not fit the {len(expected)} expected: {'; '.join(found)}")
    module.load_state_dict({name: tensors[names[name]] for name in state}, assign=True)


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Mapping[str, Tensor]]:
    """Names and mapped tensors of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            yield {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"`{path}` is no whole safetensors file: {error}", hint="download it again") from error


@contextmanager
def _open_torch(path: Path) -> Iterator[Mapping[str, Tensor]]:
    """Names and mapped tensors of what `torch.save` wrote."""
    yield _state(path, _unpickle(path))


def _unpickle(path: Path) -> object:
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x80\x02":
        raise InputError(
            f"`{path}` is in torch's format from before version 1.6, which cannot be mapped; expected the zip format",
            hint=_conversion(path, "zip", "torch.load({old}, weights_only=True)"),
        )
    if start != b"PK\x03\x04":
        raise InputError(f"`{path}` is no checkpoint of torch; expected a file written by `torch.save`")
    if not zipfile.is_zipfile(path):
        raise InputError(f"`{path}` ends too early: the directory of its zip is missing", hint="download it again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL (\S+)", str(error))
        wish = f"asks for `{match[1]}`" if match else "holds more than tensors"
        raise InputError(
            f"`{path}` {wish}; expected a dictionary of tensors and nothing that could run, so it was not loaded",
            hint="ask its authors for a plain state dict or a safetensors file",
        ) from error
    except (RuntimeError, ValueError, EOFError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"`{path}` cannot be read as a checkpoint of torch: {reason}") from error


def _state(path: Path, content: object) -> dict[str, Tensor]:
    """The dictionary of tensors, out of its wrapper where it has one."""
    if isinstance(content, Mapping):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping):
        raise InputError(f"`{path}` holds a {type(content).__name__}; expected a dictionary of tensors")
    tensors = {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    if not tensors:
        raise InputError(f"`{path}` holds no tensors; expected a dictionary of them, found {_listed(list(content))}")
    return tensors


def _check_precision(path: Path, name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and tensor.dtype != torch.float32:
        state = "{{n: t.float() for n, t in torch.load({old}, weights_only=True).items()}}"
        raise InputError(
            f"`{name}` in `{path}` is {str(tensor.dtype).removeprefix('torch.')}; expected float32:"
            " robustness is measured on the published weights, not on rounded ones",
            hint=None if path.suffix == ".safetensors" else _conversion(path, "float32", state),
        )


def _conversion(path: Path, kind: str, state: str) -> str:
    """A command that writes `state` next to `path`, with `kind` in its name."""
    new = path.with_name(f"{path.stem}-{kind}{path.suffix}")
    code = f"import torch; torch.save({state.format(old=repr(str(path)))}, {str(new)!r})"
    return f"`python -c {shlex.quote(code)}`"


def _spans(sizes: Mapping[str, int]) -> list[list[str]]:
    """The names in their order, cut wherever 1 / `SPANS` of all bytes has come together."""
    spans: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if filled + size > sum(sizes.values()) / SPANS and spans[-1]:
            spans.append([])
            filled = 0
        spans[-1].append(name)
        filled += size
    return spans


def _listed(names: list[Any]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"`{name}`" for name in names[:NAMED]) + more
