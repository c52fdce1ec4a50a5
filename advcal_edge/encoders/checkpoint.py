"""Read published checkpoints: only the tensors that one trunk needs, and never code.

A checkpoint of five gigabytes holds six trunks. It is memory-mapped, so that only the pages of the wanted tensors are
read; and it is mapped again for each span of tensors, because mapped pages count as memory until the map closes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from advcal_edge.encoders.naming import listed, match_names
from advcal_edge.encoders.torch_file import PLAIN_FILE, conversion, open_torch
from advcal_edge.encoders.weights_folder import INDEX, read_index
from advcal_edge.errors import InputError
from advcal_edge.tensors import Complaint, open_tensors

SPANS = 10
"""Number of times the file is mapped: only that small a share of the wanted bytes is ever in memory twice."""

HALVES = (torch.float16, torch.bfloat16)
NOT_WHOLE = Complaint(InputError, "is no whole safetensors file", "download it again")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Tensors by the names that were wanted, and what was changed in reading them, for the user."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...]

    @property
    def metadata(self) -> dict[str, list[str]]:
        """The notes as a part of an encoder's metadata."""
        return {"notes": list(self.notes)} if self.notes else {}


def read_tensors(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """The tensors of `read_checkpoint`, for those who have said its notes before.

    Raises:
        InputError: as for `read_checkpoint`.
    """
    return read_checkpoint(path, wanted).tensors


def read_checkpoint(path: Path, wanted: Callable[[str], bool]) -> Checkpoint:
    """Copy the tensors whose name is wanted from a checkpoint: .pth, .pt, .bin, .safetensors, or an index of shards.

    `{"state_dict": ...}`, `{"model_state_dict": ...}` and `{"model": ...}` are unwrapped. If no name is wanted as it
    stands, one prefix of `naming.PREFIX` is left out. Half precision becomes float32.

    Raises:
        InputError: no such file, damaged, in torch's old format, a pickle with code in it, not a dictionary of tensors,
            no wanted name or one behind several prefixes, or a wanted tensor that is not plain or of double precision.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint `{path}`", hint="say where it is with `--weights`")
    prefix, halves, spans = _survey(path, wanted)
    copies: dict[str, Tensor] = {}
    for span in spans:
        mapped = _mapped(path)
        copies |= {name: _copied(mapped[prefix + name]) for name in span}
        del mapped
    notes = [f"`{path.name}` names its tensors with `{prefix}` in front, which was left out"] if prefix else []
    notes += [f"`{path.name}` holds {' and '.join(halves)}, converted to float32"] if halves else []
    return Checkpoint(copies, tuple(notes))


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
    problems = [f"{len(keys)} {what} ({listed(keys)})" for what, keys in complaints.items() if keys]
    if problems:
        raise InputError(
            f"the tensors of {where} do not fit the {len(expected)} expected: {'; '.join(problems)}",
            hint="give the checkpoint of this encoder, of the size that was published, with `--weights`",
        )
    module.load_state_dict({name: tensors[names[name]] for name in state}, assign=True)


def _survey(path: Path, wanted: Callable[[str], bool]) -> tuple[str, list[str], list[list[str]]]:
    """The prefix of the wanted names, their types of half precision, and the names in spans, in the file's order."""
    tensors = _mapped(path)
    prefix, names = match_names(tensors, wanted, path)
    found = {name: tensors[prefix + name] for name in names}
    for name, tensor in found.items():
        _check_plain(path, name, tensor)
        _check_precision(path, name, tensor)
    _check_sum(path, found)
    halves = sorted({_type(tensor) for tensor in found.values() if tensor.dtype in HALVES})
    names.sort(key=lambda name: found[name].data_ptr())  # so that the file is read sequentially
    return prefix, halves, _spans({name: found[name].nbytes for name in names})


def _mapped(path: Path) -> dict[str, Tensor]:
    """Names and mapped tensors of a checkpoint."""
    if path.name.endswith(INDEX):
        return _open_shards(path)
    return _open_safetensors(path) if path.suffix == ".safetensors" else open_torch(path)


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    with open_tensors(path, "pt", NOT_WHOLE) as file:
        return {name: file.tensor(name) for name in file.names}


def _open_shards(path: Path) -> dict[str, Tensor]:
    """The tensors of all shards, each out of the file where the index places it."""
    index, found = read_index(path), {}
    for place in sorted(set(index.values())):
        shard = _mapped(place)
        own = [name for name, where in index.items() if where == place]
        missing = sorted(set(own) - shard.keys())
        if missing:
            raise InputError(
                f"`{place}` lacks what its index places there: {listed(missing)}", hint="download it again"
            )
        found.update({name: shard[name] for name in own})
    return found


def _copied(tensor: Tensor) -> Tensor:
    """A copy in memory of its own, in float32 if it was stored in half precision."""
    dtype = torch.float32 if tensor.dtype in HALVES else tensor.dtype
    return tensor.detach().to(dtype, memory_format=torch.contiguous_format, copy=True)


def _check_plain(path: Path, name: str, tensor: Tensor) -> None:
    """Refuse a tensor that needs more memory than the file provides: sparse, repeated, or without numbers."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain or tensor.nbytes > tensor.untyped_storage().nbytes():
        raise InputError(
            f"{listed([name])} in `{path}` is no plain tensor; expected one that is stored number by number",
            hint=PLAIN_FILE,
        )


def _check_sum(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that tensors with shared storage do not add up to much more than their files."""
    found = sum(tensor.nbytes for tensor in tensors.values())
    files = {*read_index(path).values()} if path.name.endswith(INDEX) else {path}
    size = sum(file.stat().st_size for file in files)
    if found > 2 * size:
        raise InputError(
            f"the tensors in `{path}` make {found:,} bytes of a file of {size:,}; expected at most twice its size",
            hint=PLAIN_FILE,
        )


def _check_precision(path: Path, name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and tensor.dtype not in (torch.float32, *HALVES):
        state = "{{n: t.float() for n, t in torch.load({old}, weights_only=True).items()}}"
        raise InputError(
            f"`{name}` in `{path}` is {_type(tensor)}; expected float32 or half precision",
            hint=None if path.suffix in (".safetensors", ".json") else conversion(path, "float32", state),
        )


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


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
