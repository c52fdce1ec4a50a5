"""The forward graph: x (n, ...) in physical bounds to unit-norm z (n, d), equal to the frozen module."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from advcal_edge.errors import ConfigError, ExportError, first_line
from advcal_edge.export.graph_file import BATCH, suppress_output, write_graph
from advcal_edge.export.opset import check_opset
from advcal_edge.spec import TensorSpec

EXAMPLE_BATCH = 2  # tracing with one sample would fix the batch, since torch treats sizes 0 and 1 as constants


def export_forward(module: nn.Module, spec: TensorSpec, path: Path, opset: int = 20) -> None:
    """Write `module` as an fp32 ONNX graph from `x` (n, *spec.shape) to `z` (n, d).

    Attention is decomposed, since the Attention operator is newer than opset 20; LayerNormalization stays one
    operator, which TensorRT runs in one kernel.

    Raises:
        ConfigError: an opset outside 18 to 20, or an input that is not float32.
        ExportError: the module cannot be traced, or the file is not as requested.
    """
    check_opset(opset)
    frozen = freeze(module)
    x = example_input(spec)
    try:
        with torch.no_grad(), suppress_output():  # the exporter cannot trace its own tensors under inference_mode
            program = torch.onnx.export(
                frozen,
                (x,),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=["x"],
                output_names=["z"],
                dynamic_shapes=({0: torch.export.Dim(BATCH, min=1)},),
            )
    except Exception as error:  # the exporter passes on exceptions of the module's code
        raise trace_error(module, error) from error
    if program is None:
        raise ExportError(f"`{type(module).__name__}` cannot be exported: the exporter returned nothing")
    write_graph(program.model_proto, path, precision="fp32", kind="forward", opset=opset)


def freeze(module: nn.Module) -> nn.Module:
    """A copy for export: evaluation mode, fp32, on the CPU, parameters without gradient; `module` is unchanged."""
    return copy.deepcopy(module).to("cpu", torch.float32).eval().requires_grad_(False)


def example_input(spec: TensorSpec) -> torch.Tensor:
    """Two samples in the middle of the bounds.

    Raises:
        ConfigError: the input is not float32.
    """
    if spec.dtype != "float32":
        raise ConfigError(f"input `{spec.name}` is {spec.dtype}; graphs take float32")
    return torch.full((EXAMPLE_BATCH, *spec.shape), (spec.bounds[0] + spec.bounds[1]) / 2)


def trace_error(module: nn.Module, error: Exception) -> ExportError:
    """The error for a module that torch cannot trace or translate."""
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    return ExportError(
        f"`{type(module).__name__}` cannot be exported: {first_line(cause)}",
        hint="the module must be traceable by `torch.export` with a dynamic batch",
    )
