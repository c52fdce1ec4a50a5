"""Read published checkpoints: only the tensors that one trunk needs, and never code.

A checkpoint of five gigabytes holds six trunks. It is memory-mapped, so that only the pages of the wanted tensors are
read; and it is mapped again for each span of tensors, because mapped pages count as memory until the map closes.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import shlex
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.storage import open_regular
from advcal_edge.tensors import Complaint, open_tensors

SPANS = 10
"""Number of times the file is mapped: only that small a share of the wanted bytes is ever in memory twice."""

WRAPPERS = ("state_dict", "model")
NAMED, SHOWN = 4, 80  # keys listed in an error, and letters of each; the others are counted
PLAIN_FILE = "ask its authors for a plain state dict or a safetensors file"
NOT_WHOLE = Complaint(InputError, "is no whole safetensors file", "download it again")


def read_tensors(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Copy the tensors whose name is wanted from the checkpoint at `path` (.pth, .pt, .bin or .safetensors).

    `{"state_dict": ...}` and `{"model": ...}` are unwrapped before names are checked.

    Raises:
        InputError: no such file, damaged, in torch's old format, a pickle with code in it, not a dictionary of tensors,
            no wanted name, or a wanted tensor that is not plain or of floating point other than float32.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint `{path}`", hint="say where it is with `--weights`")
    opened = _open_safetensors if path.suffix == ".safetensors" else _open_torch
    with opened(path) as tensors:
        names = sorted(filter(wanted, tensors))
        if not names:
            some = _listed(sorted(tensors)) or "nothing"
            raise InputError(
                f"`{path}` holds none of the tensors this encoder is made of; found {some}",
                hint="give the checkpoint of this encoder with `--weights`",
            )
        for name in names:
            _check_plain(path, name, tensors[name])
            _check_precision(path, name, tensors[name])
        _check_sum(path, sum(tensors[name].nbytes for name in names))
        names.sort(key=lambda name: tensors[name].data_ptr())  # in file order, so that the file is read sequentially
        spans = _spans({name: tensors[name].nbytes for name in names})
    copies: dict[str, Tensor] = {}
    for span in spans:
        with opened(path) as mapped:
            copies |= {name: mapped[name].detach().clone(memory_format=torch.contiguous_format) for name in span}
    return copies


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
    """Make `tensors` the parameters and buffers of `module`, which may be on the meta device; they are not copied.

    `names` maps the module's names to names in `tensors`, if they differ.

    Raises:
        InputError: names are missing or left over, or shapes or types differ; the message counts and names them.
    """
    state = module.state_dict()
    names = names or {name: name for name in state}
    expected = {names[name]: tensor for name, tensor in state.items()}
    both = [(name, tensors[name], slot) for name, slot in expected.items() if name in tensors]
    complaints = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "left over": sorted(tensors.keys() - expected.keys()),
        "of another shape": [
            f"{name} {tuple(found.shape)} for {tuple(slot.shape)}"
            for name, found, slot in both
            if found.shape != slot.shape
        ],
        "of another type": [
            f"{name} {found.dtype} for {slot.dtype}" for name, found, slot in both if found.dtype != slot.dtype
        ],
    }
    problems = [f"{len(keys)} {what} ({_listed(keys)})" for what, keys in complaints.items() if keys]
    if problems:
        raise InputError(
            f"the tensors of {where} do not fit the {len(expected)} expected: {'; '.join(problems)}",
            hint="give the checkpoint of this encoder, of the size that was published, with `--weights`",
        )
    module.load_state_dict({name: tensors[names[name]] for name in state}, assign=True)


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Mapping[str, Tensor]]:
    """Names and mapped tensors of a safetensors file."""
    with open_tensors(path, "pt", NOT_WHOLE) as file:
        yield {name: file.tensor(name) for name in file.names}


@contextmanager
def _open_torch(path: Path) -> Iterator[Mapping[str, Tensor]]:
    """Names and mapped tensors of a file written by `torch.save`."""
    yield _state(path, _unpickle(path))


def _unpickle(path: Path) -> object:
    with open_regular(path, InputError) as file:
        start = file.read(4)
    if start[:2] == b"\x80\x02":
        raise InputError(
            f"`{path}` is in torch's format from before version 1.6, which cannot be mapped; expected the zip format",
            hint=_conversion(path, "zip", "torch.load({old}, weights_only=True)"),
        )
    if start != b"PK\x03\x04":
        raise InputError(
            f"`{path}` is no checkpoint of torch; expected a file written by `torch.save`", hint="download it again"
        )
    _check_zip(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL (\S+)", str(error))
        if match is None:
            raise _unreadable(path, error) from error
        raise InputError(
            f"`{path}` asks for `{match[1][:SHOWN]}`; expected a dictionary of tensors and nothing that could run, so"
            " it was not loaded",
            hint=PLAIN_FILE,
        ) from error
    except Exception as error:  # on a damaged stream the restricted unpickler may raise anything
        raise _unreadable(path, error) from error


def _check_zip(path: Path) -> None:
    """Refuse a zip that is incomplete, or that unpacks to more than its size: torch stores without compression."""
    try:
        if not zipfile.is_zipfile(path):
            raise InputError(f"`{path}` ends too early: the directory of its zip is missing", hint="download it again")
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, LookupError, NotImplementedError) as error:
        raise _unreadable(path, error) from error
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            raise InputError(
                f"`{entry.filename[:SHOWN]}` in `{path}` is compressed; expected it stored, as `torch.save` does",
                hint=PLAIN_FILE,
            )
        if entry.filename.endswith("data.pkl"):
            limits.TENSOR_HEADER_BYTES.check(entry.file_size, f"the pickle in `{path}`", InputError)


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return InputError(
        f"`{path}` cannot be read as a checkpoint of torch: {reason[: 4 * SHOWN]}", hint="download it again"
    )


def _state(path: Path, content: object) -> dict[str, Tensor]:
    """The dictionary of tensors, without its wrapper if it has one."""
    if isinstance(content, Mapping):
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping):
        raise InputError(
            f"`{path}` holds a {type(content).__name__}; expected a dictionary of tensors", hint=PLAIN_FILE
        )
    tensors = {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    if not tensors:
        found = _listed(list(content)) or "nothing"
        raise InputError(f"`{path}` holds no tensors; expected a dictionary of them, found {found}", hint=PLAIN_FILE)
    return tensors


def _check_plain(path: Path, name: str, tensor: Tensor) -> None:
    """Refuse a tensor that needs more memory than the file provides: sparse, repeated, or without numbers."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain or tensor.nbytes > tensor.untyped_storage().nbytes():
        raise InputError(
            f"{_listed([name])} in `{path}` is no plain tensor; expected one that is stored number by number",
            hint=PLAIN_FILE,
        )


def _check_sum(path: Path, found: int) -> None:
    """Check that tensors with shared storage do not add up to much more than the file."""
    size = path.stat().st_size
    if found > 2 * size:
        raise InputError(
            f"the tensors in `{path}` make {found:,} bytes of a file of {size:,}; expected at most twice its size",
            hint=PLAIN_FILE,
        )


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
    """Split the names, in order, into parts of about 1 / `SPANS` of all bytes."""
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
    return ", ".join(f"`{str(name)[:SHOWN]}`" for name in names[:NAMED]) + more
