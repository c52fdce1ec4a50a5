"""Read the structure of an ONNX file without running or unpacking it: nodes, sizes and files of tensors, functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from advcal_edge import limits
from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.protobuf import BYTES, EIGHT_BYTES, FOUR_BYTES, VARINT, Reader, Span, signed
from advcal_edge.runtime.engine_file import export_command

FIELDS_A_NODE = 64  # inputs, outputs, attributes, exporter notes; a graph from torch has about 30
FLOAT, INT32, INT64, DOUBLE = 1, 6, 7, 11
FORMS = {FLOAT: "f", INT32: "i", INT64: "q", DOUBLE: "d"}  # of a value in raw bytes
SINGLES = {FLOAT: FOUR_BYTES, DOUBLE: EIGHT_BYTES}  # wire types other than varint
SLOTS = {FLOAT: 4, INT32: 5, INT64: 7, DOUBLE: 10}  # the field for values listed one by one
SMALL = 512  # bytes of a tensor or text whose value is read: shapes, axes, repeat counts, modes
EXTERNAL = 1
STRINGS = 6
SIZE_LISTED = {4: 4, 10: 8}  # bytes per value in the lists of floats and doubles; integers take at least one

Numbers = tuple[float, ...]


@dataclass(slots=True)
class Tensor:
    """A constant: its declared type and shape, and the data present."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    type: int = 0
    raw: int | None = None
    """Its bytes in the file, if it is stored as raw bytes."""
    listed: int = field(default=0, compare=False, repr=False)
    """Upper bound on the number of values listed one by one."""
    external: list[tuple[str, str]] | None = None
    """Keys and values of its location, if it is stored in another file."""
    values: Numbers | None = None
    """Its values, if they are few."""
    span: Span | None = field(default=None, compare=False, repr=False)
    """Where in the file its values lie: raw, or floats listed one after the other."""


@dataclass(slots=True)
class Sparse:
    """A constant that stores only some of its values."""

    dims: list[int]
    parts: list[Tensor]


@dataclass(slots=True)
class Node:
    """One operator, with the contents of its attributes."""

    op: str = ""
    name: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    numbers: dict[str, Numbers] = field(default_factory=dict)
    words: dict[str, bytes] = field(default_factory=dict)
    """Its attributes that are text, if short."""
    tensors: list[Tensor] = field(default_factory=list)
    sparse: list[Sparse] = field(default_factory=list)
    graphs: list[Body] = field(default_factory=list)


@dataclass(slots=True)
class Body:
    """The main graph, or one nested in a node."""

    nodes: list[Node] = field(default_factory=list)
    initializers: list[Tensor] = field(default_factory=list)
    sparse: list[Sparse] = field(default_factory=list)


@dataclass(slots=True)
class Function:
    """A named group of nodes that other nodes call."""

    name: str = ""
    domain: str = ""
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Model:
    """An ONNX file."""

    graph: Body = field(default_factory=Body)
    functions: list[Function] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Keys of its metadata."""


class Scan:
    """One pass over a file; the numbers are field numbers of the ONNX schema."""

    def __init__(self, data: bytes | memoryview, path: Path) -> None:
        """Read `data`, the content of `path`."""
        where, self._hint = f"`{path}`", f"copy it again, or export again: {export_command(path)}"
        self._most, self._deepest = limits.GRAPH_NODES.value, limits.GRAPH_DEPTH.value
        self._reader = Reader(data, FIELDS_A_NODE * self._most, where, self._hint)
        self._all, self._where = (0, len(self._reader.data)), where
        self._nodes = 0
        self.files: set[str] = set()
        """Names of the files in which constants lie, after `model`."""

    def model(self) -> Model:
        """The whole file.

        Raises:
            EngineError: not protobuf, without a graph, too many nodes, or graphs nested too deeply.
        """
        model, graphs = Model(), []
        for number, wire, span in self._reader.fields(self._all):
            if wire != BYTES:
                continue
            if number == 7:
                graphs.append(span)
            elif number == 14:
                model.notes.append(self._entry(span)[0])
            elif number == 25:
                model.functions.append(self._function(span))
        if not graphs:
            raise EngineError(f"{self._where} is no ONNX graph: it holds none", hint=self._hint)
        model.graph = self._graph(graphs, 1)
        return model

    def _graph(self, spans: Sequence[Span], depth: int) -> Body:
        """A graph; if the field occurs several times, all occurrences are merged, as protobuf defines."""
        if depth > self._deepest:
            limits.GRAPH_DEPTH.check(depth, self._where, EngineError)
        body = Body()
        for span in spans:
            for number, wire, inner in self._reader.fields(span):
                if wire != BYTES:
                    continue
                if number == 1:
                    body.nodes.append(self._node(inner, depth))
                elif number == 5:
                    body.initializers.append(self._tensor([inner]))
                elif number == 15:
                    body.sparse.append(self._sparse([inner]))
        return body

    def _function(self, span: Span) -> Function:
        function = Function()
        for number, wire, inner in self._reader.fields(span):
            if wire != BYTES:
                continue
            if number == 1:
                function.name = self._reader.text(inner)
            elif number == 4:
                function.inputs.append(self._reader.text(inner))
            elif number == 5:
                function.outputs.append(self._reader.text(inner))
            elif number == 7:
                function.nodes.append(self._node(inner, 1))
            elif number == 10:
                function.domain = self._reader.text(inner)
        return function

    def _node(self, span: Span, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > self._most:
            limits.GRAPH_NODES.check(self._nodes, self._where, EngineError)
        node, text = Node(), self._reader.text
        for number, wire, inner in self._reader.fields(span):
            if wire != BYTES:
                continue
            if number == 1:
                node.inputs.append(text(inner))
            elif number == 2:
                node.outputs.append(text(inner))
            elif number == 3:
                node.name = text(inner)
            elif number == 4:
                node.op = text(inner)
            elif number == 5:
                self._attribute(inner, node, depth)
            elif number == 7:
                node.domain = text(inner)
        return node

    def _attribute(self, span: Span, node: Node, depth: int) -> None:
        name = ""
        integers: list[int] = []
        floats: list[float] = []
        tensors: list[Span] = []
        graphs: list[Span] = []
        sparse: list[Span] = []
        single: dict[int, Numbers] = {}
        word: bytes | None = None
        for number, wire, inner in self._reader.fields(span):
            if number == 1 and wire == BYTES:
                name = self._reader.text(inner)
            elif number == 2 and wire == FOUR_BYTES:
                single[number] = tuple(self._reader.numbers("f", inner))
            elif number == 3 and wire == VARINT:
                single[number] = (signed(inner[0]),)
            elif number == 4 and wire == BYTES:
                word = bytes(self._reader.data[slice(*inner)]) if inner[1] - inner[0] <= SMALL else None
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
        if word is not None:
            node.words[name] = word
        if integers or floats or single:
            node.numbers[name] = tuple(integers) or tuple(floats) or single[max(single)]  # the other varint, before it

    def _sparse(self, spans: Sequence[Span]) -> Sparse:
        sparse, parts = Sparse([], []), dict[int, list[Span]]({1: [], 2: []})
        for span in spans:
            for number, wire, inner in self._reader.fields(span):
                if number in parts and wire == BYTES:
                    parts[number].append(inner)
                elif number == 3 and wire in (BYTES, VARINT):
                    sparse.dims += self._reader.integers(wire, inner)
        sparse.parts = [self._tensor(places) for places in parts.values() if places]
        return sparse

    def _tensor(self, spans: Sequence[Span]) -> Tensor:
        tensor, raw = Tensor(), None
        entries: list[tuple[str, str]] = []
        listed: dict[int, list[tuple[int, Span]]] = {}
        outside = 0
        for span in spans:
            for number, wire, inner in self._reader.fields(span):
                if number == 1 and wire in (BYTES, VARINT):
                    tensor.dims += self._reader.integers(wire, inner)
                elif number == 2 and wire == VARINT:
                    tensor.type = signed(inner[0], 32)
                elif number in (4, 5, 6, 7, 10, 11):
                    listed.setdefault(number, []).append((wire, inner))
                    size = SIZE_LISTED.get(number, 1)
                    tensor.listed += (inner[1] - inner[0]) // size if wire == BYTES and number != STRINGS else 1
                elif number == 8 and wire == BYTES:
                    tensor.name = self._reader.text(inner)
                elif number == 9 and wire == BYTES:
                    raw = inner
                elif number == 13 and wire == BYTES:
                    entries.append(self._entry(inner))
                elif number == 14 and wire == VARINT:
                    outside = inner[0] & 0xFFFFFFFF
        tensor.raw = None if raw is None else raw[1] - raw[0]
        packed = [inner for wire, inner in listed.get(SLOTS.get(tensor.type, 0), []) if wire == BYTES]
        tensor.span = packed[0] if raw is None and tensor.type in SINGLES and len(packed) == 1 else raw
        if outside == EXTERNAL:
            tensor.external = entries
            self.files.update(value for key, value in entries if key == "location")
        tensor.values = self._values(tensor.type, raw, listed)
        return tensor

    def _values(self, kind: int, raw: Span | None, listed: dict[int, list[tuple[int, Span]]]) -> Numbers | None:
        """The values of a small constant, for the data types of shapes and factors."""
        if raw is not None:
            small = kind in FORMS and raw[1] - raw[0] <= SMALL
            return tuple(self._reader.numbers(FORMS[kind], raw)) if small else None
        places = listed.get(SLOTS.get(kind, 0), [])
        if not places or sum(1 if wire != BYTES else inner[1] - inner[0] for wire, inner in places) > SMALL:
            return None
        values: list[float] = []
        for wire, inner in places:
            if kind in SINGLES and wire in (BYTES, SINGLES[kind]):
                values += self._reader.numbers(FORMS[kind], inner)
            elif kind not in SINGLES and wire in (BYTES, VARINT):
                integers = self._reader.integers(wire, inner)
                values += [signed(value, 32) for value in integers] if kind == INT32 else integers
        return tuple(values)

    def _entry(self, span: Span) -> tuple[str, str]:
        entry = {1: "", 2: ""}
        for number, wire, inner in self._reader.fields(span):
            if number in entry and wire == BYTES:
                entry[number] = self._reader.text(inner)
        return entry[1], entry[2]


def few(wire: int, span: Span, found: Sequence[float]) -> bool:
    """Is an attribute's list of numbers still as short as a shape?"""
    return len(found) <= SMALL and (wire != BYTES or span[1] - span[0] <= SMALL)
