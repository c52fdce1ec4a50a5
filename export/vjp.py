"""The gradient graph: x (n, ...) and v (n, d) to z (n, d) and g = J^T v (n, ...), with a dynamic batch.

With v = dL/dz it gives dL/dx for any loss L on embeddings, so that one graph serves every attack where torch is not
installed. The batch stays dynamic because autograd is traced under fake tensors with a symbolic first size;
`torch.func.vjp` would fix it.

Backward operators are decomposed into plain forward ones, so that any runtime can run the gradient. The result has
matrix products, convolutions, elementwise arithmetic and means: no scatter, no operator that exists only for training,
and no second output of LayerNormalization, of which TensorRT reads only the first.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import pi, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._decomp import core_aten_decompositions
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn.attention import SDPBackend, sdpa_kernel

from advcal_edge.errors import ExportError
from advcal_edge.export.forward import EXAMPLE_BATCH, example_input, freeze, trace_error
from advcal_edge.export.graph_file import BATCH, suppress_output, write_graph
from advcal_edge.export.opset import check_opset
from advcal_edge.spec import TensorSpec

SCATTERS = frozenset({"ScatterElements", "ScatterND", "Scatter"})
aten = torch.ops.aten
Table = dict[Any, Callable[..., Any]]


def export_vjp(module: nn.Module, spec: TensorSpec, embedding_dim: int, path: Path, opset: int = 20) -> None:
    """Write the backward pass of `module` as an fp32 ONNX graph from `x`, `v` to `z`, `g`.

    Raises:
        ConfigError: an opset outside 18 to 20, or an input that is not float32.
        ExportError: the module cannot be traced, or its backward pass scatters, which TensorRT rejects.
    """
    check_opset(opset)
    frozen = freeze(module)
    x, v = example_input(spec), torch.ones(EXAMPLE_BATCH, embedding_dim)
    try:
        with suppress_output():
            program = torch.onnx.export(
                trace_program(frozen, x, v),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=["x", "v"],
                output_names=["z", "g"],
            )
    except ExportError:
        raise
    except Exception as error:  # the exporter passes on exceptions of the module's code
        raise trace_error(module, error) from error
    if program is None:
        raise ExportError(f"`{type(module).__name__}` cannot be exported: the exporter returned nothing")
    model = program.model_proto
    scatters = SCATTERS & {node.op_type for node in model.graph.node}
    if scatters:
        raise ExportError(
            f"the backward pass of `{type(module).__name__}` needs {', '.join(sorted(scatters))},"
            " which TensorRT rejects",
            hint="keep index, gather, sort and diagonal out of the path from x to z, or export without the gradient",
        )
    write_graph(model, path, precision="fp32", kind="vjp", opset=opset)


def pull_back(module: nn.Module, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """z = module(x) and J^T v at x, by autograd."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        z = module(x)
        (g,) = torch.autograd.grad(z, x, v)
    return z.detach(), g


def trace_program(module: nn.Module, x: Tensor, v: Tensor) -> ExportedProgram:
    """Trace forward and backward of a frozen module as one program of forward operators."""
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    fakes = [fake_batch(mode, tensor, name) for name, tensor in (("x", x), ("v", v))]
    # the flash kernel's backward has no translation to ONNX; the math kernel is matrix products and a softmax
    with mode, sdpa_kernel(SDPBackend.MATH):
        traced: fx.GraphModule = make_fx(
            lambda x, v: pull_back(module, x, v),
            decomposition_table=backward_decompositions(),
            tracing_mode="real",
            _allow_non_fake_inputs=True,
        )(*fakes)
    batch = torch.export.Dim(BATCH, min=1)
    program: ExportedProgram = torch.export.export(
        spell_out_layer_norm_back(traced), (x, v), dynamic_shapes=({0: batch}, {0: batch}), strict=False
    )
    return program


def fake_batch(mode: FakeTensorMode, tensor: Tensor, name: str) -> Tensor:
    """A fake tensor in place of `tensor`, with a symbolic first size."""
    sizes = [DimDynamic.DYNAMIC] + [DimDynamic.STATIC] * (tensor.ndim - 1)
    context: StatelessSymbolicContext[Any, Any] = StatelessSymbolicContext(dynamic_sizes=sizes)
    return mode.from_tensor(tensor, source=ConstantSource(name), symbolic_context=context)


def backward_decompositions() -> Table:
    """Decompositions for a backward pass: convolution, GELU and softmax; LayerNorm's is kept."""
    table: Table = dict(core_aten_decompositions())
    table.pop(aten.native_layer_norm.default, None)  # stays one operator in the forward half
    table.pop(aten.native_layer_norm_backward.default, None)  # it would need the forward operator's mean and deviation
    table[aten.convolution_backward.default] = convolve_back
    table[aten.gelu_backward.default] = gelu_back
    table[aten._safe_softmax.default] = softmax
    return table


def convolve_back(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """Gradient with respect to the input only, as one transposed convolution.

    Raises:
        ExportError: a transposed convolution, or a parameter that is not frozen.
    """
    if transposed or mask[1] or mask[2]:
        raise ExportError("only the input's gradient of a plain convolution exports; freeze the parameters")
    missing = [  # rows that strided windows do not reach; the transposed convolution must add them again
        int(x.shape[2 + i])
        - ((int(grad.shape[2 + i]) - 1) * stride[i] - 2 * padding[i] + dilation[i] * (int(weight.shape[2 + i]) - 1) + 1)
        for i in range(weight.ndim - 2)
    ]
    back: Tensor = aten.convolution.default(grad, weight, None, stride, padding, dilation, True, missing, groups)
    return back, None, None


def gelu_back(grad: Tensor, x: Tensor, *, approximate: str = "none") -> Tensor:
    """Derivative of GELU, exact or in its tanh form (arXiv:1606.08415)."""
    if approximate == "tanh":
        inner = sqrt(2 / pi) * (x + 0.044715 * x * x * x)
        slope = sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x)
        tanh = torch.tanh(inner)
        return grad * 0.5 * (1 + tanh + x * (1 - tanh * tanh) * slope)
    cdf = 0.5 * (1 + torch.erf(x * sqrt(0.5)))
    density = torch.exp(-0.5 * x * x) * (1 / sqrt(2 * pi))
    return grad * (cdf + x * density)


def softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Plain softmax, in place of the one that handles fully masked rows, which these encoders do not have."""
    out: Tensor = aten._softmax.default(x, dim, False)
    return out


def spell_out_layer_norm_back(traced: fx.GraphModule) -> fx.GraphModule:
    """Replace each LayerNorm backward by arithmetic on its input, in place; mean and deviation are computed again.

    Raises:
        ExportError: a LayerNorm over more than the last axis.
    """
    for node in list(traced.graph.nodes):
        if node.target is not aten.native_layer_norm_backward.default:
            continue
        grad, x, shape, mean, _, weight, _, _ = node.args
        if len(shape) != 1:
            raise ExportError(f"LayerNorm over {list(shape)}; only a norm over the last axis exports its gradient")
        eps = mean.args[0].args[4]  # mean is output 1 of the forward operator, which has eps
        with traced.graph.inserting_before(node):
            back = layer_norm_back(traced.graph, grad, x, weight, eps)
        for user in list(node.users):
            if user.target is operator.getitem and user.args[1] == 0:
                user.replace_all_uses_with(back)
            if not user.users:
                traced.graph.erase_node(user)
        if not node.users:
            traced.graph.erase_node(node)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced


def layer_norm_back(graph: fx.Graph, grad: fx.Node, x: fx.Node, weight: fx.Node | None, eps: float) -> fx.Node:
    """With h = (x - mean) / sigma and w = grad * weight: (w - mean(w) - h mean(w h)) / sigma, over the last axis."""

    def mean(value: fx.Node) -> fx.Node:
        return graph.call_function(aten.mean.dim, (value, [-1], True))

    def sub(left: fx.Node, right: fx.Node) -> fx.Node:
        return graph.call_function(aten.sub.Tensor, (left, right))

    def mul(left: fx.Node, right: fx.Node) -> fx.Node:
        return graph.call_function(aten.mul.Tensor, (left, right))

    centred = sub(x, mean(x))
    variance = graph.call_function(aten.add.Scalar, (mean(mul(centred, centred)), eps))
    inverse = graph.call_function(aten.rsqrt.default, (variance,))
    h = mul(centred, inverse)
    w = grad if weight is None else mul(grad, weight)
    return mul(sub(sub(w, mean(w)), mul(h, mean(mul(w, h)))), inverse)
