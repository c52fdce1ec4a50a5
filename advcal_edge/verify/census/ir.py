"""Read the layers of an OpenVINO IR as nodes of ONNX, so that one census serves both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.graph_scan import Body, Model, Node, Numbers, Tensor
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.weights import usual_name

RENAMED: Mapping[str, str] = {
    "AvgPool": "AveragePool",
    "Broadcast": "Expand",
    "Ceiling": "Ceil",
    "Clamp": "Clip",
    "Const": "Constant",
    "Convert": "Cast",
    "ConvertLike": "CastLike",
    "Convolution": "Conv",
    "ConvolutionBackpropData": "ConvTranspose",
    "Divide": "Div",
    "FloorMod": "Mod",
    "GreaterEqual": "GreaterOrEqual",
    "GroupConvolution": "Conv",
    "GroupConvolutionBackpropData": "ConvTranspose",
    "HSigmoid": "HardSigmoid",
    "HSwish": "HardSwish",
    "Interpolate": "Resize",
    "IsFinite": "IsInf",
    "LSTMSequence": "LSTM",
    "GRUSequence": "GRU",
    "RNNSequence": "RNN",
    "LessEqual": "LessOrEqual",
    "LogicalAnd": "And",
    "LogicalNot": "Not",
    "LogicalOr": "Or",
    "LogicalXor": "Xor",
    "MVN": "MeanVarianceNormalization",
    "Maximum": "Max",
    "Minimum": "Min",
    "Multiply": "Mul",
    "Negative": "Neg",
    "NormalizeL2": "LpNormalization",
    "NotEqual": "Equal",
    "Power": "Pow",
    "RMS": "RMSNormalization",
    "Result": "Identity",
    "ScaledDotProductAttention": "Attention",
    "ScatterElementsUpdate": "ScatterElements",
    "ScatterNDUpdate": "ScatterND",
    "ScatterUpdate": "Scatter",
    "Select": "Where",
    "ShapeOf": "Shape",
    "SoftMax": "Softmax",
    "SoftPlus": "Softplus",
    "SoftSign": "Softsign",
    "SquaredDifference": "Sub",
    "StridedSlice": "Slice",
    "Subtract": "Sub",
    "TensorIterator": "Loop",
    "VariadicSplit": "Split",
}
"""OpenVINO's names of layers that ONNX names otherwise, or the closest operator; all others keep their names."""
ORDER: Mapping[str, Sequence[int]] = {"Pad": (0, 1, 3, 2), "VariadicSplit": (0, 2, 1)}
"""Where the inputs come in another order."""
TYPES: Mapping[str, int] = {
    "f32": 1,
    "u8": 2,
    "i8": 3,
    "u16": 4,
    "i16": 5,
    "i32": 6,
    "i64": 7,
    "boolean": 9,
    "f16": 10,
    "f64": 11,
    "u32": 12,
    "u64": 13,
    "bf16": 16,
    "f8e4m3": 17,
    "f8e5m2": 19,
    "u4": 21,
    "i4": 22,
}
"""ONNX's numbers of data types, by OpenVINO's names; other types count as floats of 32 bits."""
BODIES = ("body", "then_body", "else_body")
NUMBERS = ("min", "max", "levels", "alpha")


def read_ir(file: EngineFile) -> Model:
    """The layers of an IR whose XML `check_ir` has checked, in the order of their data flow.

    Raises:
        EngineError: the XML cannot be read, or its layers depend on each other in a circle.
    """
    try:
        root = ElementTree.fromstring(file.data)  # noqa: S314, checked: no document type, so no entities
    except ElementTree.ParseError as error:
        raise EngineError(f"`{file.path}` is no OpenVINO IR: {error}", hint="convert the graph again") from error
    return Model(read_body(root, file))


def read_body(net: ElementTree.Element, file: EngineFile, inside: str = "") -> Body:
    """A network, or one inside a layer; `inside` begins the names of all its tensors."""
    layers = {inside + layer.get("id", ""): layer for layer in net.iterfind("layers/layer")}
    feeds: dict[str, dict[str, str]] = {name: {} for name in layers}
    before: dict[str, set[str]] = {name: set() for name in layers}
    for edge in net.iterfind("edges/edge"):
        source, target = (inside + edge.get(end, "") for end in ("from-layer", "to-layer"))
        if source in layers and target in layers:
            feeds[target][edge.get("to-port", "")] = f"{source}:{edge.get('from-port', '')}"
            before[target].add(source)
    nodes = [read_layer(layers[name], name, feeds[name], file) for name in in_order(before, file)]
    return Body([node for node in nodes if node is not None])


def in_order(before: Mapping[str, set[str]], file: EngineFile) -> Iterator[str]:
    """Names of layers, each after those that it depends on.

    Raises:
        EngineError: there is no such order.
    """
    after: dict[str, list[str]] = {name: [] for name in before}
    left = {name: len(sources) for name, sources in before.items()}
    for name, sources in before.items():
        for source in sources:
            after[source].append(name)
    ready, count = [name for name, number in left.items() if not number], 0
    while ready:
        name = ready.pop()
        count += 1
        yield name
        for target in after[name]:
            left[target] -= 1
            if not left[target]:
                ready.append(target)
    if count < len(before):
        raise EngineError(f"the layers of `{file.path}` depend on each other in a circle", hint="convert it again")


def read_layer(layer: ElementTree.Element, identity: str, feeds: Mapping[str, str], file: EngineFile) -> Node | None:
    """One layer as a node; None for an input of the network."""
    kind, data = layer.get("type", ""), layer.find("data")
    if kind == "Parameter":
        return None
    given = data.attrib if data is not None else {}
    inputs = [feeds.get(port.get("id", ""), "") for port in layer.iterfind("input/port")]
    inputs = [inputs[place] for place in ORDER.get(kind, range(len(inputs))) if place < len(inputs)]
    outputs = [f"{identity}:{port.get('id', '')}" for port in layer.iterfind("output/port")]
    node = Node(RENAMED.get(kind, kind), layer.get("name", ""), "", inputs, outputs, numbers_of(given))
    if kind == "Convert":
        node.numbers["to"] = (TYPES.get(given.get("destination_type", ""), 1),)
    if kind == "Const":
        node.tensors.append(constant(given, file))
    node.graphs += [
        read_body(body, file) for name in ("body", "then_body", "else_body") for body in layer.iterfind(name)
    ]
    return node


def numbers_of(given: Mapping[str, str]) -> dict[str, Numbers]:
    """The attributes that a census reads."""
    found: dict[str, Numbers] = {}
    for name in NUMBERS:
        try:
            found[name] = (float(given[name]),)
        except (KeyError, ValueError):
            continue
    return found


def constant(given: Mapping[str, str], file: EngineFile) -> Tensor:
    """A constant in the file beside the XML."""
    place = [
        ("location", usual_name(file.path)),
        ("offset", given.get("offset", "0")),
        ("length", given.get("size", "0")),
    ]
    return Tensor(type=TYPES.get(given.get("element_type", ""), 1), external=place)
