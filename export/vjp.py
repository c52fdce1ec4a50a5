"""The gradient graph: x (n, ...) and v (n, d) to z (n, d) and g = J^T v (n, ...), with a dynamic batch.

With v = dL/dz it gives dL/dx for any loss L on embeddings, so that one graph serves every attack where torch is not
installed. The batch stays dynamic because autograd is traced under fake tensors with a symbolic first size;
`torch.func.vjp` would fix it.

Backward operators become plain forward ones (`export/backward`), so that any runtime can run the gradient: matrix
products, convolutions, slices, elementwise arithmetic and means. No operator exists only for training, and
LayerNormalization has no second output, since TensorRT reads only the first. Where a gradient adds into scattered
places and no translation avoids it, the graph runs on ONNX Runtime, and no plan is built from it (`scatter.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn.attention import SDPBackend, sdpa_kernel

from advcal_edge.errors import ExportError
from advcal_edge.export.backward import decompositions
from advcal_edge.export.backward.functions import WithoutScatter
from advcal_edge.export.backward.normalisation import spell_out_layer_norm_back
from advcal_edge.export.forward import EXAMPLE_BATCH, example_input, freeze, trace_error
from advcal_edge.export.graph_file import BATCH, suppress_output, write_graph
from advcal_edge.export.opset import check_opset
from advcal_edge.spec import TensorSpec


def export_vjp(module: nn.Module, spec: TensorSpec, embedding_dim: int, path: Path, opset: int = 20) -> None:
    """Write the backward pass of `module` as an fp32 ONNX graph from `x`, `v` to `z`, `g`.

    Raises:
        ConfigError: an opset outside 18 to 20, or an input that is not float32.
        ExportError: the module cannot be traced.
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
    write_graph(program.model_proto, path, precision="fp32", kind="vjp", opset=opset)


def pull_back(module: nn.Module, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """z = module(x) and J^T v at x, by autograd."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        z = module(x)
        (g,) = torch.autograd.grad(z, x, v)
    return z.detach(), g


def trace_program(module: nn.Module, x: Tensor, v: Tensor) -> ExportedProgram:
    """Forward and backward of a frozen module as one program of forward operators with a dynamic batch."""
    batch = torch.export.Dim(BATCH, min=1)
    program: ExportedProgram = torch.export.export(
        trace(module, x, v), (x, v), dynamic_shapes=({0: batch}, {0: batch}), strict=False
    )
    return program


def trace(module: nn.Module, x: Tensor, v: Tensor) -> fx.GraphModule:
    """Trace `pull_back` of a frozen module, with backward operators translated."""
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    fakes = [fake_batch(mode, tensor, name) for name, tensor in (("x", x), ("v", v))]
    # without the Python dispatcher, padding and interpolation read the batch as a number;
    # the flash kernel's backward has no translation to ONNX; the math kernel is matrix products and a softmax
    with mode, enable_python_dispatcher(), WithoutScatter(), sdpa_kernel(SDPBackend.MATH):
        traced: fx.GraphModule = make_fx(
            lambda x, v: pull_back(module, x, v),
            decomposition_table=decompositions(),
            tracing_mode="real",
            _allow_non_fake_inputs=True,
        )(*fakes)
    for node in traced.graph.nodes:
        if node.target is torch.ops.aten.view.default:  # the next tracer may lay tensors out in another order
            node.target = torch.ops.aten.reshape.default
    return spell_out_layer_norm_back(traced)


def fake_batch(mode: FakeTensorMode, tensor: Tensor, name: str) -> Tensor:
    """A fake tensor in place of `tensor`, with a symbolic first size."""
    sizes = [DimDynamic.DYNAMIC] + [DimDynamic.STATIC] * (tensor.ndim - 1)
    context: StatelessSymbolicContext[Any, Any] = StatelessSymbolicContext(dynamic_sizes=sizes)
    return mode.from_tensor(tensor, source=ConstantSource(name), symbolic_context=context)
