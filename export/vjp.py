"""The gradient graph: x (n, ...) and v (n, d) to z (n, d) and g = J^T v (n, ...), with a dynamic batch.

With v = dL/dz it gives dL/dx for every loss L there is on embeddings, so that one graph serves every attack where no
torch is installed. Tracing autograd under fake tensors whose first size is symbolic is what keeps the batch dynamic;
`torch.func.vjp` freezes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn.attention import SDPBackend, sdpa_kernel

from advcal_edge.errors import ExportError
from advcal_edge.export.decomposition import backward_decompositions, spell_out_layer_norm_back
from advcal_edge.export.dialect import check_opset
from advcal_edge.export.forward import EXAMPLE_BATCH, example_input, freeze, trace_error
from advcal_edge.export.graph_file import BATCH, write_graph
from advcal_edge.export.quiet import quiet
from advcal_edge.spec import TensorSpec

SCATTERS = frozenset({"ScatterElements", "ScatterND", "Scatter"})


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
        with quiet():
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
    except Exception as error:  # the exporter raises whatever the module's own code raises
        raise trace_error(module, error) from error
    if program is None:
        raise ExportError(f"`{type(module).__name__}` cannot be exported: the exporter returned nothing")
    model = program.model_proto
    found = SCATTERS & {node.op_type for node in model.graph.node}
    if found:
        raise ExportError(
            f"the backward pass of `{type(module).__name__}` needs {', '.join(sorted(found))}, which TensorRT rejects",
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
    """Forward and backward of a frozen module as one program of forward operators."""
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
    """A stand-in for `tensor` without data, whose first size is a symbol."""
    sizes = [DimDynamic.DYNAMIC] + [DimDynamic.STATIC] * (tensor.ndim - 1)
    context: StatelessSymbolicContext[Any, Any] = StatelessSymbolicContext(dynamic_sizes=sizes)
    return mode.from_tensor(tensor, source=ConstantSource(name), symbolic_context=context)
