"""Files of `torch.save`, mapped and never run: what is damaged, compressed or code is refused before it is loaded."""

from __future__ import annotations

import pickle
import re
import shlex
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from advcal_edge import limits
from advcal_edge.encoders.naming import SHOWN, listed
from advcal_edge.errors import InputError
from advcal_edge.storage import open_regular

WRAPPERS = ("state_dict", "model_state_dict", "model")
DEEPEST = 4  # wrappers around each other; a pickle may also hold itself
PLAIN_FILE = "ask its authors for a plain state dict or a safetensors file"


def open_torch(path: Path) -> dict[str, Tensor]:
    """Names and mapped tensors of a file written by `torch.save`, without the dictionaries around them.

    Raises:
        InputError: damaged, in torch's old format, a pickle with code in it, or not a dictionary of tensors.
    """
    return _state(path, _unpickle(path))


def conversion(path: Path, kind: str, state: str) -> str:
    """A command that writes `state`, an expression of the path `{old}`, next to `path` with `kind` in its name."""
    new = path.with_name(f"{path.stem}-{kind}{path.suffix}")
    code = f"import torch; torch.save({state.format(old=repr(str(path)))}, {str(new)!r})"
    return f"`python -c {shlex.quote(code)}`"


def _unpickle(path: Path) -> object:
    with open_regular(path, InputError) as file:
        start = file.read(4)
    if start[:2] == b"\x80\x02":
        raise InputError(
            f"`{path}` is in torch's format from before version 1.6, which cannot be mapped; expected the zip format",
            hint=conversion(path, "zip", "torch.load({old}, weights_only=True)"),
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
    """The dictionary of tensors, out of the dictionaries that training scripts put around it."""
    for _ in range(DEEPEST):
        inner = content
        if isinstance(content, Mapping):
            inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
        if inner is content:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise InputError(
            f"`{path}` holds a {type(content).__name__}; expected a dictionary of tensors", hint=PLAIN_FILE
        )
    tensors = {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    if not tensors:
        found = listed(list(content)) or "nothing"
        raise InputError(f"`{path}` holds no tensors; expected a dictionary of them, found {found}", hint=PLAIN_FILE)
    return tensors
