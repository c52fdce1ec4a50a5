"""Read untrusted safetensors files: the header is size-limited and parsed before a library maps the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from advcal_edge import limits
from advcal_edge.documents import parse_json
from advcal_edge.errors import AdvcalError
from advcal_edge.storage import open_regular

METADATA = "__metadata__"
UNREADABLE = (
    SafetensorError,
    OSError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Raised by the library for a dtype that the framework lacks, an unsupported shape, or a file that changed."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The error for a file that is not as expected: its kind, the text after the path, and a hint."""

    kind: type[AdvcalError]
    words: str
    hint: str | None = None

    def of(self, path: Path, reason: object) -> AdvcalError:
        """The error, with its reason."""
        return self.kind(f"`{path}` {self.words}: {reason}", hint=self.hint)


@dataclass(frozen=True, slots=True)
class TensorFile:
    """An open file: its tensors by name, and the metadata of its writer."""

    path: Path
    complaint: Complaint
    metadata: Mapping[str, str]
    names: tuple[str, ...]
    _file: Any

    def tensor(self, name: str) -> Any:
        """Read one tensor, in the framework of `open_tensors`.

        Raises:
            the kind of the complaint: missing, or of a type or shape that the framework does not have.
        """
        if name not in self.names:
            raise self.complaint.of(self.path, f"there is no tensor `{name}`")
        try:
            return self._file.get_tensor(name)
        except UNREADABLE as error:
            raise self.complaint.of(self.path, f"`{name}` cannot be read: {error}") from error

    def document(self, key: str) -> dict[str, Any]:
        """The JSON object in the metadata under `key`.

        Raises:
            the kind of the complaint: missing or malformed.
        """
        if key not in self.metadata:
            raise self.complaint.of(self.path, f"its metadata lack `{key}`")
        kind, hint = self.complaint.kind, self.complaint.hint
        document = parse_json(self.metadata[key], f"`{self.path}` {self.complaint.words}: `{key}`", kind, hint=hint)
        if not isinstance(document, dict):
            raise self.complaint.of(self.path, f"`{key}` is a {type(document).__name__}; expected an object")
        return document


@contextmanager
def open_tensors(path: Path, framework: Literal["np", "pt"], complaint: Complaint) -> Iterator[TensorFile]:
    """Open a safetensors file; tensors are memory-mapped, and read when they are used.

    Raises:
        the kind of the complaint: unreadable, not a regular file, a header that is too large, damaged, or one that
            does not fit the rest of the file.
    """
    header = read_header(path, complaint)
    try:
        opened = safe_open(path, framework=framework)
    except UNREADABLE as error:
        raise complaint.of(path, error) from error
    with opened as file:
        names = tuple(name for name in header if name != METADATA)
        yield TensorFile(path, complaint, header.get(METADATA, {}), names, file)


def read_header(path: Path, complaint: Complaint) -> dict[str, Any]:
    """Descriptions of the tensors by name, and under `__metadata__` the writer's metadata, as strings.

    Raises:
        the kind of the complaint: unreadable, too large, or without a valid header.
    """
    with open_regular(path, complaint.kind) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            raise complaint.of(path, f"it has {size} bytes and ends before its header does")
        limits.TENSOR_HEADER_BYTES.check(length, f"the header of `{path}`", complaint.kind)
        data = file.read(length)
    where = f"`{path}` {complaint.words}: its header"
    header = parse_json(data, where, complaint.kind, hint=complaint.hint)
    if not isinstance(header, dict) or not all(isinstance(entry, dict) for entry in header.values()):
        raise complaint.of(path, "its header describes no tensors")
    if not all(isinstance(text, str) for text in header.get(METADATA, {}).values()):
        raise complaint.of(path, "its metadata are no texts")
    return header
