"""Check an untrusted graph before it is loaded: known operators, its own weights, bounded work."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence

from advcal_edge import limits
from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.graph_scan import Body, Function, Model, Node, Numbers, Scan, Tensor
from advcal_edge.runtime.engine_file import EngineFile, export_command
from advcal_edge.runtime.weights import GRAPH, is_plain, usual_name

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains whose operators ONNX Runtime implements; other domains need a library of code."""
KNOWN = ", ".join(f"`{domain}`" for domain in sorted(DOMAINS - {""}))
OUTSIDE = frozenset({"EPContext"})  # refers to files that an execution provider would load
OWN_SETTINGS = "ort_config"
ORT_FORMAT = b"ORTM"  # at byte 4 of ONNX Runtime's own file format, which is not checked here
LOCATION_KEYS = frozenset({"location", "offset", "length", "checksum"})
BITS: Mapping[int, int] = {
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((7, 11, 13, 14), 64),
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
    15: 128,
}
"""Bytes per value, by ONNX's number of a data type."""
SHAPED_BY_INPUT: Mapping[str, int] = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "OneHot": 1, "Col2Im": 1}
SHAPED_BY_ATTRIBUTE = ("shape", "output_shape", "sizes", "scales", "repeats")
WINDOWS = frozenset({"BlackmanWindow", "HammingWindow", "HannWindow"})

READS_SIZES = frozenset({*SHAPED_BY_INPUT, *WINDOWS, "Loop", "Resize", "Upsample", "CenterCropPad", "Range", "Pad"})

Key = tuple[str, str]
Constants = ChainMap[str, Numbers]


def check_graph(file: EngineFile) -> None:
    """Check a graph before anything unpacks, compiles or runs it.

    Properties that depend on the input cannot be checked here: the first run has its own limits.

    Raises:
        EngineError: not ONNX; too many nodes, also with functions inlined; recursive functions; an operator that
            needs a library; weights outside the file and its folder; constants that claim more data than there
            is, or are larger than the limit; a loop of more rounds than the limit.
    """
    where = f"`{file.path}`"
    if bytes(file.data[4:8]) == ORT_FORMAT:
        raise EngineError(f"{where} is in ONNX Runtime's own format; expected ONNX", hint="use the ONNX it was made of")
    GraphCheck(file, Scan(file.data, file.path).model()).run()


class GraphCheck:
    """The checks of one file."""

    def __init__(self, file: EngineFile, model: Model) -> None:
        """Prepare the checks of `model`, which was read from `file`."""
        self._file, self._model, self._where = file, model, f"`{file.path}`"
        self._functions: dict[Key, list[Node]] = {}
        for function in model.functions:  # overloads count as one: a call counts the sum of them
            self._functions.setdefault(key(function), []).extend(function.nodes)

    def run(self) -> None:
        """Run all checks.

        Raises:
            EngineError: as for `check_graph`.
        """
        if OWN_SETTINGS in self._model.notes:
            raise EngineError(
                f"{self._where} brings settings for ONNX Runtime (`{OWN_SETTINGS}`); expected a graph alone",
                hint=f"remove `{OWN_SETTINGS}` from its metadata",
            )
        limits.GRAPH_NODES.check(self._expanded(), f"{self._where} with its functions written out", EngineError)
        self._check_nodes(self._model.graph.nodes, self._own(self._model.graph, ChainMap()))
        for nodes in self._functions.values():
            self._check_nodes(nodes, ChainMap())

    def _own(self, graph: Body, outer: Constants) -> Constants:
        """The known numbers of a graph; its constants are checked at the same time."""
        known = outer.new_child()
        for tensor in graph.initializers:
            self._check_tensor(tensor)
            if tensor.values is not None:
                known[tensor.name] = tensor.values
        for sparse in graph.sparse:
            self._check_size(sparse.dims, "a sparse constant")
            for part in sparse.parts:
                self._check_tensor(part)
        return known

    def _check_nodes(self, nodes: Sequence[Node], outer: Constants) -> None:
        known = outer.new_child()
        for node in nodes:
            if node.op == "Constant" and node.outputs:
                held = (tensor.values for tensor in node.tensors)
                known.update((node.outputs[0], found) for found in (*node.numbers.values(), *held) if found is not None)
        for node in nodes:
            self._check_operator(node)
            self._check_work(node, known)
            for tensor in node.tensors:
                self._check_tensor(tensor)
            for sparse in node.sparse:
                self._check_size(sparse.dims, "a sparse constant")
                for part in sparse.parts:
                    self._check_tensor(part)
            for graph in node.graphs:
                self._check_nodes(graph.nodes, self._own(graph, known))

    def _check_operator(self, node: Node) -> None:
        if key_of(node) in self._functions:
            return
        if node.domain not in DOMAINS or node.op in OUTSIDE:
            raise EngineError(
                f"{self._where} has an operator `{node.op[:80]}` of the domain `{node.domain[:80]}`, which takes a"
                f" library or files from elsewhere; expected those of {KNOWN}",
                hint="export it with standard operators, or with the operator as a function of the graph",
            )

    def _check_tensor(self, tensor: Tensor) -> None:
        """Check that a constant has as much data as it claims, in a file that we may read."""
        named = f"the constant `{tensor.name[:80]}`"
        if any(size < 0 for size in tensor.dims):
            raise self._wrong(f"{named} claims the shape {tensor.dims[:8]}", "no negative size")
        count, bits = math.prod(tensor.dims), BITS.get(tensor.type, 1)
        claimed = (count * bits + 7) // 8
        if tensor.external is not None:
            there = self._outside(tensor, named)
        elif tensor.raw is not None:
            there = tensor.raw
        else:
            there, claimed = tensor.listed, count // (8 if bits < 8 else 1)
        if claimed > there:
            raise self._wrong(
                f"{named} claims the shape {tensor.dims[:8]}, for which it has too few bytes", "all of it"
            )

    def _outside(self, tensor: Tensor, named: str) -> int:
        """Bytes of a constant in a file beside the graph."""
        fields = dict(tensor.external or ())
        if len(fields) != len(tensor.external or ()) or not fields.keys() <= LOCATION_KEYS:
            raise self._wrong(f"{named} says with {sorted(fields)[:8]} where it lies", "`location`, `offset`, `length`")
        path, place = self._file.path, fields.get("location", "")
        if not is_plain(place):
            raise EngineError(
                f"{self._where} keeps {named} in `{place[:80]}`; expected the plain name of a file beside it",
                hint=f"save its weights again, in `{usual_name(path)}` or in the graph itself",
            )
        if place not in self._file.weights:
            sought = path.suffix == GRAPH or place == usual_name(path)
            raise EngineError(
                f"{self._where} keeps {named} in `{place[:80]}`, "
                + ("which is not there" if sought else f"which is only sought for a graph named `*{GRAPH}`"),
                hint="copy that file as well" if sought else f"name it `{path.stem}{GRAPH}`",
            )
        size = len(self._file.weights[place])
        numbers = {name: fields.get(name, "0") for name in ("offset", "length")}
        if any(not (text.isascii() and text.isdigit() and len(text) <= 18) for text in numbers.values()):
            raise self._wrong(f"{named} lies at {numbers} of `{place}`", "whole numbers")
        offset = int(numbers["offset"])
        length = int(numbers["length"]) if "length" in fields else size - offset
        if offset > size or length < 0 or offset + length > size:
            raise self._wrong(
                f"{named} lies at {numbers} of `{place}`, which has {size:,} bytes", "bytes that are there"
            )
        return length

    def _check_work(self, node: Node, known: Constants) -> None:
        """Check loops and outputs whose size is constant in the graph."""
        given = [known.get(name) for name in node.inputs] if node.op in READS_SIZES else []
        if node.op == "Loop" and given and given[0]:
            limits.GRAPH_ROUNDS.check(given[0][0], f"a loop of {self._where}", EngineError)
        for values in outputs_of(node, given):
            self._check_size(values, f"what `{node.op}` makes")

    def _check_size(self, dims: Sequence[float], named: str) -> None:
        count = 1.0
        for size in dims:
            count *= max(float(size), 1.0) if math.isfinite(size) else math.inf
        limits.GRAPH_VALUES.check(min(count, 1e300), f"{named} in {self._where}", EngineError)

    def _expanded(self) -> int:
        """Number of nodes with all functions inlined; capped above the limit, so that it terminates."""
        counts: dict[Key, int] = {}
        most, waiting = limits.GRAPH_NODES.value, [(function, False) for function in self._functions]
        depths: dict[Key, int] = {}
        open_ones: set[Key] = set()
        while waiting:
            name, seen = waiting.pop()
            if name in counts:
                continue
            called = [k for k in map(key_of, every(self._functions[name])) if k in self._functions]
            if seen:
                counts[name] = min(self._count(self._functions[name], counts), most + 1)
                depths[name] = 1 + max((depths[k] for k in called), default=0)
                limits.GRAPH_DEPTH.check(depths[name], f"`{name[1][:80]}` of {self._where}", EngineError)
                open_ones.discard(name)
                continue
            if name in open_ones:
                continue
            open_ones.add(name)
            waiting.append((name, True))
            for inner in called:
                if inner in open_ones:
                    raise self._wrong(f"its function `{inner[1][:80]}` calls itself", "functions without recursion")
                if inner not in counts:
                    waiting.append((inner, False))
        return self._count(self._model.graph.nodes, counts)

    @staticmethod
    def _count(nodes: Sequence[Node], counts: Mapping[Key, int]) -> int:
        return sum(counts.get(key_of(node), 1) for node in every(nodes))

    def _wrong(self, found: str, expected: str) -> EngineError:
        return EngineError(
            f"{self._where} is damaged or was made to harm: {found}; expected {expected}",
            hint=f"copy it again, or export again: {export_command(self._file.path)}",
        )


def outputs_of(node: Node, given: Sequence[Numbers | None]) -> Iterator[Numbers]:
    """Lower bounds of the shapes of a node's outputs, as far as they are constant in the graph."""
    place = SHAPED_BY_INPUT.get(node.op)
    if place is not None and place < len(given) and given[place] is not None:
        yield given[place] or ()
    if node.op in ("Resize", "Upsample", "CenterCropPad"):
        yield from (values for values in given[1:] if values)
    if node.op == "Range" and len(given) == 3:
        start, stop, step = ((values or (math.nan,))[0] for values in given)
        if step and not math.isnan(start + stop + step):
            yield ((stop - start) / step,)
    if node.op == "Pad":
        pads = (given[1] if len(given) > 1 else None) or node.numbers.get("pads", ())
        half = len(pads) // 2
        yield tuple(before + after for before, after in zip(pads[:half], pads[half:], strict=False))
    if node.op in WINDOWS and given and given[0]:
        yield given[0]
    if node.domain in DOMAINS:
        yield from (node.numbers[name] for name in SHAPED_BY_ATTRIBUTE if name in node.numbers)


def every(nodes: Sequence[Node]) -> Iterator[Node]:
    """Nodes, including those of nested graphs."""
    for node in nodes:
        yield node
        for graph in node.graphs:
            yield from every(graph.nodes)


def key(function: Function) -> Key:
    """The key by which nodes call a function."""
    return normal(function.domain), function.name


def key_of(node: Node) -> Key:
    """The key of the function that a node calls."""
    return normal(node.domain), node.op


def normal(domain: str) -> str:
    """Normalise the domain of ONNX itself, which has two names."""
    return "" if domain == "ai.onnx" else domain
