"""ONNX graphs: spoilt bytes, and graphs that are well formed and mean harm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fuzz.case import Action, Scene, Target
from fuzz.corpus import BUNDLE, relist
from fuzz.mutation import spoil
from fuzz.poisons import CONTROLS, NUMBERS, PATHS, TEXTS
from fuzz.targets.bundles import FRAME, KEPT, lay_out

GRAPHS = ("onnx/forward.fp32.onnx", "onnx/vjp.fp32.onnx")
SIZES = (0, 1, -1, 2, 3, 2**16, 2**31 - 1, 2**31, 2**40, 2**63 - 1)
OPERATORS = ("Identity", "Neg", "Exp", "Log", "Reshape", "Expand", "Tile", "Flatten", "MatMul", "Softmax", "Cast", "If",
             "Loop", "Scan", "NonZero", "Where", "RandomNormal", "ConstantOfShape", "Resize", "Einsum", "StringSplit",
             "NoSuchOperator")  # fmt: skip


def write_graph(scene: Scene) -> Sequence[Action]:
    """A graph of the bundle, listed with its hash or given by its path."""
    bundle = lay_out(scene)
    name = scene.rng.choice(GRAPHS)
    if scene.spoilt:
        data = (bundle / name).read_bytes()
        data = spoil(data, scene.rng) if scene.rng.random() < 0.4 else spoil_graph(data, scene)
        relist(bundle, {name: data})
        if scene.rng.random() < 0.1:
            (bundle / f"{name}.data").write_bytes(scene.rng.randbytes(scene.rng.choice((0, 1, 4096))))
    engine = f"{BUNDLE}/{GRAPHS[0]}"
    quick = [
        Action("embed", (BUNDLE, engine), KEPT),
        Action("cli", ("inspect", BUNDLE), KEPT),
        Action("cli", ("embed", BUNDLE, FRAME, "--engine", "fp32"), KEPT),
    ]
    options = ("--engine", "fp32", "--reference", "onnx", "--sources", "none", "--samples", "8")
    whole = Action("cli", ("verify", BUNDLE, *options))
    if not scene.spoilt:
        return [*quick, whole]
    return [whole] if name == GRAPHS[1] else scene.rng.sample(quick, 1 + (scene.index % 3 == 0))


def spoil_graph(data: bytes, scene: Scene) -> bytes:
    """A well-formed file whose graph was changed in one to three places."""
    import onnx

    model = onnx.load_model_from_string(data)
    for _ in range(scene.rng.choice((1, 1, 2, 3))):
        scene.rng.choice(CHANGES)(model, scene.rng)
    return bytes(model.SerializeToString())


def _size(model: Any, rng: Any) -> None:
    """A declared shape."""
    port = rng.choice([*model.graph.input, *model.graph.output])
    dims = port.type.tensor_type.shape.dim
    if dims and rng.random() < 0.8:
        dim = rng.choice(list(dims))
        if rng.random() < 0.7:
            dim.dim_value = rng.choice(SIZES)
        else:
            dim.dim_param = rng.choice((*CONTROLS, "n", ""))
    else:
        port.type.tensor_type.elem_type = rng.randrange(25)


def _name(model: Any, rng: Any) -> None:
    """A name of an input, an output, a node or the graph."""
    named = rng.choice(
        [*model.graph.input, *model.graph.output, *model.graph.node, *model.graph.initializer, model.graph]
    )
    named.name = text(rng)


def _weights(model: Any, rng: Any) -> None:
    """A constant: where it lies, how large it claims to be, of what type."""
    tensor = rng.choice(list(model.graph.initializer))
    change = rng.randrange(4)
    if change == 0:
        tensor.dims[:] = [rng.choice(SIZES) for _ in tensor.dims] or [rng.choice(SIZES)]
    elif change == 1:
        tensor.data_type = rng.randrange(25)
    elif change == 2:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    else:
        tensor.data_location = 1
        for key, value in (("location", rng.choice(PATHS)[:4000]), ("offset", "0"), ("length", str(rng.choice(SIZES)))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value.encode("utf-8", "replace").decode()


def _values(model: Any, rng: Any) -> None:
    """The numbers of a constant: NaN, infinity, huge indices."""
    import numpy as np
    from onnx import numpy_helper

    tensor = rng.choice(list(model.graph.initializer))
    try:
        value = numpy_helper.to_array(tensor).copy()
        odd = (
            rng.choice((0, 1, -1, 2**31, 2**62))
            if value.dtype.kind == "i"
            else rng.choice((0, 1e38, 1e-38, np.nan, np.inf))
        )
        value.reshape(-1)[: rng.choice((1, value.size or 1))] = odd
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    except (TypeError, ValueError, KeyError):
        pass  # an earlier change left no array to take


def _operator(model: Any, rng: Any) -> None:
    """A node that does something else, on other inputs, or of another domain."""
    node = rng.choice(list(model.graph.node))
    change = rng.randrange(4)
    if change == 0:
        node.op_type = rng.choice(OPERATORS)
    elif change == 1:
        node.domain = rng.choice(("com.microsoft", "ai.onnx.ml", "evil", CONTROLS[0]))
    elif change == 2 and node.input:
        known = [name for other in model.graph.node for name in (*other.input, *other.output)]
        node.input[rng.randrange(len(node.input))] = rng.choice((*known, "", "nowhere"))
    else:
        model.graph.node.remove(node)


def _repeat(model: Any, rng: Any) -> None:
    """One node many times, in a row."""
    from onnx import helper

    node = rng.choice(list(model.graph.node))
    if not node.input or not node.output:
        return
    last, wanted = node.output[0], node.output[0]
    node.output[0] = "chain0"
    kind = rng.choice(("Identity", "Neg", "Exp"))
    at = list(model.graph.node).index(node) + 1
    for index in range(rng.choice((1, 50, 2000))):
        model.graph.node.insert(at + index, helper.make_node(kind, [f"chain{index}"], [f"chain{index + 1}"]))
        last = f"chain{index + 1}"
    model.graph.node.insert(at + index + 1, helper.make_node("Identity", [last], [wanted]))


def _greed(model: Any, rng: Any) -> None:
    """A node before all others that takes memory or time."""
    import numpy as np
    from onnx import helper, numpy_helper

    shape = rng.choice(([2**10, 2**10], [2**16, 2**16], [2**20, 2**20], [2**62], [-1]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "greedy_shape"))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["greedy_shape"], ["greedy"]))
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["greedy"], ["most"], keepdims=0))
    flat = next((node for node in model.graph.node if node.op_type == "Flatten"), None)
    if flat is not None:
        out = flat.output[0]
        flat.output[0] = "flat"
        at = list(model.graph.node).index(flat) + 1
        model.graph.node.insert(at, helper.make_node("Add", ["flat", "most"], [out]))


def _loop(model: Any, rng: Any) -> None:
    """A loop that runs some times, or for ever."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    flat = next((node for node in model.graph.node if node.op_type == "Flatten"), None)
    if flat is None:
        return
    rounds = rng.choice((3, 2**20, 2**62))
    model.graph.initializer.append(numpy_helper.from_array(np.array(rounds, np.int64), "rounds"))
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Neg", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    out = flat.output[0]
    flat.output[0] = "flat"
    at = list(model.graph.node).index(flat) + 1
    model.graph.node.insert(at, helper.make_node("Loop", ["rounds", "", "flat"], [out], body=body))


def _told(model: Any, rng: Any) -> None:
    """What the file says of itself."""
    entry = rng.choice(list(model.metadata_props)) if model.metadata_props and rng.random() < 0.7 else None
    entry = model.metadata_props.add() if entry is None else entry
    entry.key = rng.choice((entry.key or "advcal_edge.step", "advcal_edge.precision", text(rng)))
    entry.value = text(rng)
    if rng.random() < 0.3:
        model.ir_version = rng.choice((0, 1, 9, 99, 2**31))
        model.opset_import[0].version = rng.choice((0, 1, 7, 99, 2**31))
    if rng.random() < 0.2:
        model.producer_name = text(rng)


def text(rng: Any) -> str:
    """A poison that protobuf takes."""
    chosen: str = rng.choice((*TEXTS, *CONTROLS, str(rng.choice(NUMBERS))))
    return chosen.encode("utf-8", "replace").decode()


CHANGES = (_size, _size, _name, _weights, _weights, _values, _operator, _operator, _repeat, _greed, _loop, _told)

TARGETS = (Target("graph", (BUNDLE,), write_graph, 30),)
