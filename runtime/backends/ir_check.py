"""Check an untrusted OpenVINO IR before OpenVINO reads it: plain XML, its own weights, known operators, no state."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from advcal_edge import limits
from advcal_edge.errors import EngineError
from advcal_edge.precision import PRECISIONS

VERSIONS = frozenset({"10", "11"})
OPSET = re.compile(r"opset[0-9]{1,3}")
"""Operators that OpenVINO has itself; others come from libraries that an IR would need."""
STATE = frozenset({"ReadValue", "Assign"})
QUANTIZERS = frozenset({"FakeQuantize", "FakeConvert"})
SMALL_INTEGERS = frozenset({"i8", "u8", "i4", "u4"})
HALVES = frozenset({"f16", "bf16"})
BITS = re.compile(r"[a-z]+([0-9]{1,2})")
FREE = re.compile(r"[?]|-1|[0-9]*[.][.][0-9]*")
"""A size that depends on the input, or the range it may have."""
DEPTH_A_GRAPH = 4  # elements from one graph to the graph inside one of its layers, with room for one more
OPTIONS, HINT = "runtime_options", "INFERENCE_PRECISION_HINT"
EXECUTIONS = ("f32", "bf16", "f16")
OWN = "advcal_edge."


@dataclass(slots=True)
class Facts:
    """What a checked IR says of itself."""

    layers: int = 0
    stored: set[str] = field(default_factory=set)
    """Element types of its constants, like `f32`."""
    operators: set[str] = field(default_factory=set)
    notes: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Values under `rt_info`, by the path of their element."""

    @property
    def execution(self) -> str:
        """The precision in which its floating-point operators run: `f32` unless its runtime options say otherwise."""
        return self.notes.get((OPTIONS, HINT), EXECUTIONS[0])

    @property
    def quantized(self) -> bool:
        """May OpenVINO compute its products in int8?"""
        return bool(self.operators & QUANTIZERS or self.stored & SMALL_INTEGERS)

    def label(self, name: str) -> str | None:
        """A label that the export wrote into the graph from which this IR was converted."""
        return self.notes.get(("framework", OWN + name)) or self.notes.get(("advcal_edge", name))

    @property
    def precision(self) -> str | None:
        """The precision of the graph it was converted from; None if it has no such label, or was made smaller since."""
        name = self.label("precision")
        reduced = self.quantized or bool(self.stored & HALVES)
        return None if name not in PRECISIONS or (name == "fp32" and reduced) else name


def check_ir(data: bytes, weights: int, path: Path) -> Facts:
    """Read the XML of an IR whose `.bin` has `weights` bytes; nothing is resolved, unpacked or loaded.

    Raises:
        EngineError: too large or too deep, no IR, with a document type or entities, with weights outside its `.bin`, an
            operator from a library, state that is kept between calls, or settings of the runtime but its precision.
    """
    limits.IR_BYTES.check(len(data), f"`{path}`", EngineError)
    return Scan(weights, path).run(data)


class Scan:
    """One pass over the XML of an IR."""

    def __init__(self, weights: int, path: Path) -> None:
        """Prepare to read the IR at `path`."""
        self._weights, self._where, self._name = weights, f"`{path}`", path.with_suffix(".bin").name
        self._open: list[str] = []
        self._layers: list[Mapping[str, str]] = []
        self._deepest = DEPTH_A_GRAPH * limits.GRAPH_DEPTH.value
        self.facts = Facts()

    def run(self, data: bytes) -> Facts:
        """Read all of it.

        Raises:
            EngineError: as for `check_ir`.
        """
        parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.StartDoctypeDeclHandler = self._refuse_types
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            raise self._wrong(f"its XML is broken: {error}") from error
        return self.facts

    def _refuse_types(self, *_: object) -> None:
        raise self._wrong("it has a document type, which may define entities")

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self._open and (name != "net" or attributes.get("version") not in VERSIONS):
            version = attributes.get("version", "none")
            raise self._wrong(f"it begins with `{name[:40]}` of version `{version[:20]}`, not with `net` of 10 or 11")
        self._open.append(name)
        if len(self._open) > self._deepest:
            limits.GRAPH_DEPTH.check(len(self._open) / DEPTH_A_GRAPH, self._where, EngineError)
        if name == "layer":
            self._start_layer(attributes)
        elif name == "data" and self._open[-2:-1] == ["layer"]:
            dims = self._shape(attributes)
            if self._layers[-1].get("type") == "Const":
                self._check_constant(attributes, dims)
        elif self._open[1:2] == ["rt_info"] and len(self._open) > 2:
            self._note(tuple(self._open[2:]), attributes)

    def _end(self, name: str) -> None:
        self._open.pop()
        if name == "layer":
            self._layers.pop()

    def _start_layer(self, layer: Mapping[str, str]) -> None:
        self._layers.append(layer)
        self.facts.layers += 1
        limits.GRAPH_NODES.check(self.facts.layers, self._where, EngineError)
        kind, version = layer.get("type", ""), layer.get("version", "")
        if not OPSET.fullmatch(version):
            raise EngineError(
                f"{self._where} has an operator `{kind[:80]}` of `{version[:80] or 'no operator set'}`, which takes a"
                " library; expected OpenVINO's own operator sets",
                hint="convert it with standard operators",
            )
        if kind in STATE:
            raise EngineError(
                f"{self._where} keeps state between calls (`{kind}`); expected outputs that depend on the input",
                hint="convert it without state",
            )
        self.facts.operators.add(kind)

    def _shape(self, data: Mapping[str, str]) -> list[int]:
        """The sizes that a layer states for its output, without those that depend on the input."""
        stated = data.get("shape", "")
        dims = [text.strip() for text in stated.split(",") if text.strip() and not FREE.fullmatch(text.strip())]
        if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in dims):
            raise self._wrong(f"{self._named()} has the shape `{stated[:80]}`")
        sizes = list(map(int, dims))
        limits.GRAPH_VALUES.check(min(math.prod(sizes), 10**300), f"{self._named()} of {self._where}", EngineError)
        return sizes

    def _named(self) -> str:
        return f"its layer `{self._layers[-1].get('name', '')[:80]}`"

    def _check_constant(self, data: Mapping[str, str], dims: list[int]) -> None:
        """Check that a constant lies in the weights and has as much data as it claims."""
        named = self._named()
        places = [data.get(key, "") for key in ("offset", "size")]
        if not all(text.isascii() and text.isdigit() and len(text) <= 18 for text in places):
            raise self._wrong(f"{named} lies at {places} of `{self._name}`")
        offset, size = map(int, places)
        if offset + size > self._weights:
            raise self._wrong(
                f"{named} ends at byte {offset + size:,} of `{self._name}`, which has {self._weights:,}"
                if self._weights
                else f"{named} lies in `{self._name}`, which is not there or empty"
            )
        kind = data.get("element_type", "")
        found = BITS.match(kind)
        bits = int(found.group(1)) if found else 8
        if kind != "string" and math.prod(dims) * bits > 8 * size:
            raise self._wrong(f"{named} claims the shape {dims[:8]}, for which it has too few bytes")
        self.facts.stored.add(kind)

    def _note(self, path: tuple[str, ...], attributes: Mapping[str, str]) -> None:
        value = attributes.get("value")
        if value is None:
            return
        self.facts.notes[path] = value
        if path[0] == OPTIONS and path != (OPTIONS, HINT):
            raise EngineError(
                f"{self._where} brings settings for OpenVINO (`{'/'.join(path)[:80]}`); expected none but `{HINT}`",
                hint=f"remove them from `{OPTIONS}` of its `rt_info`",
            )
        if path == (OPTIONS, HINT) and value not in EXECUTIONS:
            raise EngineError(
                f"{self._where} is to run in `{value[:40]}`; expected {', '.join(EXECUTIONS)}",
                hint=f"change `{HINT}` in `{OPTIONS}` of its `rt_info`",
            )

    def _wrong(self, found: str) -> EngineError:
        return EngineError(
            f"{self._where} is no OpenVINO IR, damaged, or was made to harm: {found}",
            hint=f"copy it and its `{self._name}` again, or convert the graph again",
        )
