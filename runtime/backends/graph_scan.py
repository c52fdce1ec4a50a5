"""What an ONNX file holds, read without running or unpacking any of it: nodes, tensors' sizes and places, functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from advcal_edge import limits
from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.protobuf import BYTES, EIGHT_BYTES, FOUR_BYTES, VARINT, Reader, Span, signed
from advcal_edge.runtime.engine_file import export_command

FIELDS_A_NODE = 64  # inputs, outputs, attributes, notes of the exporter; a graph from torch has about 30
FLOAT, INT32, INT64, DOUBLE = 1, 6, 7, 11
FORMS = {FLOAT: "f", INT32: "i", INT64: "q", DOUBLE: "d"}  # of a value in bytes
SINGLES = {FLOAT: FOUR_BYTES, DOUBLE: EIGHT_BYTES}  # wire types of what is no varint
SLOTS = {FLOAT: 4, INT32: 5, INT64: 7, DOUBLE: 10}  # the field for values one by one
SMALL = 512  # bytes of a tensor whose values are read: shapes, axes, numbers of repeats
EXTERNAL = 1
STRINGS = 6
SIZE_LISTED = {4: 4, 10: 8}  # bytes of a value in the lists of floats and doubles; whole numbers take one at least

Numbers = tuple[float, ...]


@dataclass(slots=True)
class Tensor:
    """A constant: what it claims to be, and what is there of it."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    type: int = 0
    raw: int | None = None
    """Bytes of it in the file, where it is written as bytes."""
    listed: int = field(default=0, compare=False, repr=False)
    """Most values that those which are written one by one can be."""
    external: list[tuple[str, str]] | None = None
    """Keys and values that say where it lies, where that is another file."""
    values: Numbers | None = None
    """Its numbers, where they are few."""


@dataclass(slots=True)
class Sparse:
    """A constant of which only some values are written."""

    dims: list[int]
    parts: list[Tensor]


@dataclass(slots=True)
class Node:
    """One operator with what is inside its attributes."""

    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    numbers: dict[str, Numbers] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    sparse: list[Sparse] = field(default_factory=list)
    graphs: list[Body] = field(default_factory=list)


@dataclass(slots=True)
class Body:
    """The main graph, or one inside a node."""

    nodes: list[Node] = field(default_factory=list)
    initializers: list[Tensor] = field(default_factory=list)
    sparse: list[Sparse] = field(default_factory=list)


@dataclass(slots=True)
class Function:
    """Nodes under a name, which other nodes call."""

    name: str = ""
    domain: str = ""
    nodes: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Model:
    """A file."""

    graph: Body = field(default_factory=Body)
    functions: list[Function] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Keys of its metadata."""


class Scan:
    """One reading of a file; the numbers are those of the fields in ONNX's schema."""

    def __init__(self, data: bytes | memoryview, path: Path) -> None:
        """Read `data`, which lay at `path`."""
        where, self._hint = f"`{path}`", f"copy it again, or export again: {export_command(path)}"
        self._most, self._deepest = limits.GRAPH_NODES.value, limits.GRAPH_DEPTH.value
        self._reader = Reader(data, FIELDS_A_NODE * self._most, where, self._hint)
        self._all, self._where = (0, len(self._reader.data)), where
        self._nodes = 0

    def model(self) -> Model:
        """Everything.

        Raises:
            EngineError: no protobuf, no graph in it, too many nodes, or graphs nested too deeply.
        """
        found, graphs = Model(), []
        for number, wire, span in self._reader.fields(self._all):
            if wire != BYTES:
                continue
            if number == 7:
                graphs.append(span)
            elif number == 14:
                found.notes.append(self._entry(span)[0])
            elif number == 25:
                found.functions.append(self._function(span))
        if not graphs:
            raise EngineError(f"{self._where} is no ONNX graph: it holds none", hint=self._hint)
        found.graph = self._graph(graphs, 1)
        return found

    def _graph(self, spans: Sequence[Span], depth: int) -> Body:
        """A graph; where the field was written several times, all of them make one, as protobuf has it."""
        if depth > self._deepest:
            limits.GRAPH_DEPTH.check(depth, self._where, EngineError)
        found = Body()
        for span in spans:
            for number, wire, inner in self._reader.fields(span):
                if wire != BYTES:
                    continue
                if number == 1:
                    found.nodes.append(self._node(inner, depth))
                elif number == 5:
                    found.initializers.append(self._tensor([inner]))
                elif number == 15:
                    found.sparse.append(self._sparse([inner]))
        return found

    def _function(self, span: Span) -> Function:
        found = Function()
        for number, wire, inner in self._reader.fields(span):
            if wire != BYTES:
                continue
            if number == 1:
                found.name = self._reader.text(inner)
            elif number == 7:
                found.nodes.append(self._node(inner, 1))
            elif number == 10:
                found.domain = self._reader.text(inner)
        return found

    def _node(self, span: Span, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > self._most:
            limits.GRAPH_NODES.check(self._nodes, self._where, EngineError)
        found, text = Node(), self._reader.text
        for number, wire, inner in self._reader.fields(span):
            if wire != BYTES:
                continue
            if number == 1:
                found.inputs.append(text(inner))
            elif number == 2:
                found.outputs.append(text(inner))
            elif number == 4:
                found.op = text(inner)
            elif number == 5:
                self._attribute(inner, found, depth)
            elif number == 7:
                found.domain = text(inner)
        return found

    def _attribute(self, span: Span, node: Node, depth: int) -> None:
        name = ""
        integers: list[int] = []
        floats: list[float] = []
        tensors: list[Span] = []
        graphs: list[Span] = []
        sparse: list[Span] = []
        single: dict[int, Numbers] = {}
        for number, wire, inner in self._reader.fields(span):
            if number == 1 and wire == BYTES:
                name = self._reader.text(inner)
            elif number == 2 and wire == FOUR_BYTES:
                single[number] = tuple(self._reader.numbers("f", inner))
            elif number == 3 and wire == VARINT:
                single[number] = (signed(inner[0]),)
            elif number == 5 and wire == BYTES:
                tensors.append(inner)
            elif number == 6 and wire == BYTES:
                graphs.append(inner)
            elif number == 7 and wire in (BYTES, FOUR_BYTES) and few(wire, inner, floats):
                floats += self._reader.numbers("f", inner)
            elif number == 8 and wire in (BYTES, VARINT) and few(wire, inner, integers):
                integers += self._reader.integers(wire, inner)
            elif number == 10 and wire == BYTES:
                node.tensors.append(self._tensor([inner]))
            elif number == 11 and wire == BYTES:
                node.graphs.append(self._graph([inner], depth + 1))
            elif number == 22 and wire == BYTES:
                sparse.append(inner)
            elif number == 23 and wire == BYTES:
                node.sparse.append(self._sparse([inner]))
        if tensors:
            node.tensors.append(self._tensor(tensors))
        if graphs:
            node.graphs.append(self._graph(graphs, depth + 1))
        if sparse:
            node.sparse.append(self._sparse(sparse))
        if integers or floats or single:
            node.numbers[name] = (
                tuple(integers) or tuple(floats) or single[max(single)]
            )  # the whole number before the other

    def _sparse(self, spans: Sequence[Span]) -> Sparse:
        found, parts = Sparse([], []), dict[int, list[Span]]({1: [], 2: []})
        for span in spans:
            for number, wire, inner in self._reader.fields(span):
                if number in parts and wire == BYTES:
                    parts[number].append(inner)
                elif number == 3 and wire in (BYTES, VARINT):
                    found.dims += self._reader.integers(wire, inner)
        found.parts = [self._tensor(places) for places in parts.values() if places]
        return found

    def _tensor(self, spans: Sequence[Span]) -> Tensor:
        found, raw = Tensor(), None
        entries: list[tuple[str, str]] = []
        listed: dict[int, list[tuple[int, Span]]] = {}
        outside = 0
        for span in spans:
            for number, wire, inner in self._reader.fields(span):
                if number == 1 and wire in (BYTES, VARINT):
                    found.dims += self._reader.integers(wire, inner)
                elif number == 2 and wire == VARINT:
                    found.type = signed(inner[0])
                elif number in (4, 5, 6, 7, 10, 11):
                    listed.setdefault(number, []).append((wire, inner))
                    size = SIZE_LISTED.get(number, 1)
                    found.listed += (inner[1] - inner[0]) // size if wire == BYTES and number != STRINGS else 1
                elif number == 8 and wire == BYTES:
                    found.name = self._reader.text(inner)
                elif number == 9 and wire == BYTES:
                    raw = inner
                elif number == 13 and wire == BYTES:
                    entries.append(self._entry(inner))
                elif number == 14 and wire == VARINT:
                    outside = inner[0] & 0xFFFFFFFF
        found.raw = None if raw is None else raw[1] - raw[0]
        found.external = entries if outside == EXTERNAL else None
        found.values = self._values(found.type, raw, listed)
        return found

    def _values(self, kind: int, raw: Span | None, listed: dict[int, list[tuple[int, Span]]]) -> Numbers | None:
        """The numbers of a small constant of the types that shapes and factors have."""
        if raw is not None:
            small = kind in FORMS and raw[1] - raw[0] <= SMALL
            return tuple(self._reader.numbers(FORMS[kind], raw)) if small else None
        places = listed.get(SLOTS.get(kind, 0), [])
        if not places or sum(1 if wire != BYTES else inner[1] - inner[0] for wire, inner in places) > SMALL:
            return None
        found: list[float] = []
        for wire, inner in places:
            if kind in SINGLES and wire in (BYTES, SINGLES[kind]):
                found += self._reader.numbers(FORMS[kind], inner)
            elif kind not in SINGLES and wire in (BYTES, VARINT):
                found += self._reader.integers(wire, inner)
        return tuple(found)

    def _entry(self, span: Span) -> tuple[str, str]:
        told = {1: "", 2: ""}
        for number, wire, inner in self._reader.fields(span):
            if number in told and wire == BYTES:
                told[number] = self._reader.text(inner)
        return told[1], told[2]


def few(wire: int, span: Span, found: Sequence[float]) -> bool:
    """Whether an attribute's list of numbers is still as short as a shape."""
    return len(found) <= SMALL and (wire != BYTES or span[1] - span[0] <= SMALL)
