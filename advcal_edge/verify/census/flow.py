"""Follow x through the nodes of a graph, and find what decides by its values."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from advcal_edge import limits
from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.graph_check import Key, key, key_of, normal
from advcal_edge.runtime.backends.graph_scan import Body, Function, Model, Node, Tensor
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.verify.census.decision import Census, Decision, Family, shortened
from advcal_edge.verify.census.fact import CHOICE, NOTHING, SIZE, VALUE, Fact, join
from advcal_edge.verify.census.gain import attribute, gain_of
from advcal_edge.verify.census.operators import (
    CHOSEN_BY,
    DECIDES,
    DECIDES_BY,
    INDEXES,
    KNOWN,
    LIGHT,
    MOVES,
    NORMALISES,
    PRODUCTS,
    QUANTISERS,
    SCALED,
    SCALES,
    SIZES,
    STANDARD,
)
from advcal_edge.verify.census.ranges import INTEGERS, Range, of_channels, of_constant, of_output
from advcal_edge.verify.census.reach import reaching
from advcal_edge.verify.census.rounding import coarse, step_of, to_discrete

Scope = ChainMap[str, Fact]
ABSENT = Fact()


class Flow:
    """One walk through the nodes of a graph."""

    def __init__(self, file: EngineFile, bounds: Range | None) -> None:
        """Prepare to follow x, whose values lie in `bounds`, through the graph of `file`."""
        self._file, self._x = file, Fact(VALUE, copy=True, range=bounds)
        self._functions: dict[Key, list[Function]] = {}
        self._nodes = self._calls = 0
        self._decisions: list[Decision] = []
        self._paths: list[Decision] = []
        self._gain = 1.0
        self._steepest: Decision | None = None

    def run(self, model: Model, output: str | None = None) -> Census:
        """The census of what the tensor `output` depends on; of the whole graph without one, or if it is not there.

        Raises:
            EngineError: with its functions written out it has too many nodes, or they call each other too deeply.
        """
        for function in model.functions:
            self._functions.setdefault(key(function), []).append(function)
        graph = replace(model.graph, nodes=list(reaching(model.graph, output)))
        self._walk(graph, ChainMap(), self._x)
        products_first = sorted(self._paths, key=lambda path: path.operator not in PRODUCTS)
        return Census(tuple(self._decisions), tuple(products_first), self._gain, self._steepest)

    def _walk(self, graph: Body, outer: Scope, entry: Fact) -> int:
        """Walk a graph whose inputs are all `entry`; returns on what everything depends that its nodes read."""
        known = outer.new_child()
        for tensor in graph.initializers:
            known[tensor.name] = self._constant(tensor)
        reads = NOTHING
        for node in graph.nodes:
            given = [known.get(name, entry) if name else ABSENT for name in node.inputs]
            reads |= join(given).depends | self._visit(node, given, known)
        return reads

    def _visit(self, node: Node, given: Sequence[Fact], known: Scope) -> int:
        """Judge one node and note the facts of its outputs; returns on what its inner graphs depend."""
        self._nodes += 1
        limits.GRAPH_NODES.check(self._nodes, f"`{self._file.path}` with its functions written out", EngineError)
        if key_of(node) in self._functions:
            self._call(node, given, known)
            return NOTHING
        given = self._scaled(node, given)
        inner, entry = NOTHING, replace(join(given), copy=False, range=None)
        for body in node.graphs:
            inner |= self._walk(body, known, entry)
        fact = self._judge(node, given, inner)
        if fact.values and fact.gain > self._gain:
            self._gain, self._steepest = fact.gain, named("steep", node, fact)
        known.update((name, output(node, place, fact)) for place, name in enumerate(node.outputs))
        return inner

    def _call(self, node: Node, given: Sequence[Fact], known: Scope) -> None:
        """Walk the functions that a node calls; several of one name count all."""
        self._calls += 1
        limits.GRAPH_DEPTH.check(self._calls, f"`{node.op[:80]}` of `{self._file.path}`", EngineError)
        results: list[list[Fact]] = []
        for function in self._functions[key_of(node)]:
            scope: Scope = ChainMap(dict(zip(function.inputs, given, strict=False)))
            for inner in function.nodes:
                self._visit(inner, [scope.get(name, ABSENT) for name in inner.inputs], scope)
            results.append([scope.get(name, join(given)) for name in function.outputs])
        self._calls -= 1
        for place, name in enumerate(node.outputs):
            found = [result[place] for result in results if place < len(result)] or [join(given)]
            known[name] = found[0] if len(found) == 1 else join(found)

    def _judge(self, node: Node, given: Sequence[Fact], inner: int) -> Fact:
        """The fact of a node's first output; what the node decides is noted."""
        every = join(given)
        every = replace(every, depends=every.depends | inner)
        families = list(families_of(node, given, every))
        self._decisions += [named(family, node, every) for family in families]
        if node.op in SIZES:
            return Fact(NOTHING if every.constant else SIZE, discrete=True)
        if every.constant:
            return Fact(VALUE) if "chance" in families else self._folded(node, given)
        if not every.values:
            return of_sizes(node, given, every.depends)
        if reads_copy(node, given):
            self._paths.append(named("path", node, every))
        return of_values(node, given, every, decides=bool(families) or node.op in DECIDES)

    def _folded(self, node: Node, given: Sequence[Fact]) -> Fact:
        """The fact of a constant that the graph computes from constants."""
        if node.op in ("Constant", "ConstantOfShape"):
            if node.tensors:
                return self._constant(node.tensors[0])
            numbers = [value for values in node.numbers.values() for value in values] or [0.0]
            return Fact(range=(min(numbers), max(numbers)), discrete=any("int" in name for name in node.numbers))
        discrete = to_discrete(node, given) if node.op in ("Cast", "CastLike") else join(given[:1]).discrete
        return Fact(range=range_of(node, given), discrete=discrete)

    def _constant(self, tensor: Tensor) -> Fact:
        return Fact(range=of_constant(tensor, self._file), discrete=tensor.type in INTEGERS, tensor=tensor)

    def _scaled(self, node: Node, given: Sequence[Fact]) -> Sequence[Fact]:
        """The inputs of a node, its integer weights replaced by the real ones if every channel has its own scale."""
        place = 3 if node.op.startswith("QLinear") else 0 if node.op == "DequantizeLinear" else None
        if place is None or len(given) < place + 2:
            return given
        weights, scales = given[place].tensor, given[place + 1].tensor
        if weights is None or scales is None or len(weights.dims) < 2:
            return given
        axis = {"QLinearConv": 0, "QLinearMatMul": len(weights.dims) - 1}.get(node.op, int(attribute(node, "axis", 1)))
        found = of_channels(weights, scales, axis, self._file)
        if found is None:
            return given
        return [*given[:place], Fact(range=found), Fact(range=(1.0, 1.0)), *given[place + 2 :]]


def families_of(node: Node, given: Sequence[Fact], every: Fact) -> Iterator[Family]:
    """The kinds of decision that a node makes; `every` joins its inputs and what its inner graphs read."""
    standard = normal(node.domain) in STANDARD
    family = DECIDES.get(node.op) if standard else None
    if family == "chance" or (standard and drops(node, given)):
        yield "chance"
    elif every.constant:
        return
    elif not standard or (family is None and node.op not in KNOWN):
        yield "unknown"
    elif family == "branch" and every.values:
        yield "branch"
    elif family is not None and join([given[k] for k in places(node, given)]).values:
        yield family
    elif every.values and node.op == "Where" and given and not given[0].constant:
        yield "select"
    elif every.values and node.op in QUANTISERS and given[0].values and coarse(node, given):
        yield "round"
    elif every.values and node.op == "MaxPool" and len(list(filter(None, node.outputs))) > 1:
        yield "rank"
    elif every.values and node.op not in SIZES and mixes_sizes(node, given):
        yield "size"
    if standard and any(given[place].values for place in chosen(node, given)):
        yield "index"


def drops(node: Node, given: Sequence[Fact]) -> bool:
    """Is this a dropout that is, or may be, in training mode?"""
    training = node.op == "Dropout" and len(given) > 2 and node.inputs[2] != "" and given[2].range != (0.0, 0.0)
    return training or node.op == "BitmaskDropout"


def places(node: Node, given: Sequence[Fact]) -> Sequence[int]:
    """The inputs by whose values an operator decides."""
    return [place for place in DECIDES_BY.get(node.op, range(len(given))) if place < len(given)]


def chosen(node: Node, given: Sequence[Fact]) -> list[int]:
    """The inputs that say which values an operator takes, or which shape they get."""
    return [place for place in CHOSEN_BY.get(node.op, ()) if place < len(given)]


def data_of(node: Node, given: Sequence[Fact]) -> list[Fact]:
    """The other inputs."""
    aside = CHOSEN_BY.get(node.op, ())
    return [fact for place, fact in enumerate(given) if place not in aside]


def mixes_sizes(node: Node, given: Sequence[Fact]) -> bool:
    """Does a node compute with values and with something that sizes decide?

    Sizes themselves may divide and multiply, as the number of values does in a mean.
    """
    sized = [fact for fact in data_of(node, given) if not fact.constant and not fact.values]
    return any(fact.depends & CHOICE or node.op not in SCALED for fact in sized)


def reads_copy(node: Node, given: Sequence[Fact]) -> bool:
    """Does a node make something else of x, which until here was only shifted, scaled, moved or rounded?"""
    return any(fact.copy for fact in data_of(node, given)) and not stays_copy(node, given)


def stays_copy(node: Node, given: Sequence[Fact]) -> bool:
    """Is x behind a node still x?"""
    data = data_of(node, given)
    copies = sum(fact.copy for fact in data)
    alike = all(fact.copy or fact.constant for fact in data)
    return copies > 0 and alike and node.op in LIGHT and (copies == 1 or node.op in MOVES)


def of_sizes(node: Node, given: Sequence[Fact], depends: int) -> Fact:
    """The fact of a tensor that depends on sizes of x, but not on its values."""
    data = data_of(node, given)
    if any(not fact.constant for fact in data):
        return Fact(depends if node.op in SCALES and not depends & CHOICE else CHOICE)
    return Fact(CHOICE) if node.op in INDEXES else Fact(range=join(data).range)


def of_values(node: Node, given: Sequence[Fact], every: Fact, *, decides: bool) -> Fact:
    """The fact of a tensor that depends on values of x."""
    operator, data = node.op, data_of(node, given)
    deep = every.deep or (operator in PRODUCTS and any(fact.constant for fact in data[1:]))
    if decides:
        return Fact(VALUE, deep, discrete=operator != "TopK")
    kept = join([fact for fact in data if fact.values] or given)
    return Fact(
        VALUE,
        deep,
        stays_copy(node, given),
        gain_of(node, given, kept.gain),
        range_of(node, given),
        discrete=operator in ("QuantizeLinear", "FakeQuantize") or (kept.discrete and operator in MOVES),
        step=step_of(node, given) if operator in QUANTISERS else kept.step if operator in MOVES else 0.0,
    )


def range_of(node: Node, given: Sequence[Fact]) -> Range | None:
    """The range of a node's output."""
    facts = data_of(node, given) if node.op in MOVES else given
    ranges = [fact.range for fact in facts]
    if node.op == "Clip" and len(ranges) == 1:  # its limits were attributes before opset 11
        ends = [node.numbers.get(name) for name in ("min", "max")]
        ranges += [None if end is None else (end[0], end[0]) for end in ends]
    if node.op == "DequantizeLinear" and len(given) > 1 and given[0].step:
        factor = given[1].peak / given[0].step  # the range of a quantised tensor is that before
        return of_output("Mul", [given[0].range, (factor, factor)])
    return of_output(node.op, ranges, same=len(node.inputs) > 1 and node.inputs[0] == node.inputs[1])


def output(node: Node, place: int, fact: Fact) -> Fact:
    """The fact of one output of a node, by that of the first."""
    if place == 0 or not fact.values:
        return fact
    if node.op == "DynamicQuantizeLinear" or node.op in NORMALISES:
        return Fact(VALUE, fact.deep)
    return replace(fact, discrete=fact.discrete or node.op in ("TopK", "MaxPool"))


def named(family: Family, node: Node, fact: Fact) -> Decision:
    """A decision of a node; without a name it is called after its first output."""
    name = node.name or next(filter(None, node.outputs), "")
    return Decision(family, "inside" if fact.deep else "input", shortened(node.op), shortened(name))
