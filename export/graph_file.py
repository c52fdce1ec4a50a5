"""Write an ONNX file: the same bytes for the same module, without traces of the machine, and checked on disk."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import onnx

from advcal_edge.errors import ExportError, first_line
from advcal_edge.export.opset import Kind

EXTERNAL_BYTES = 1_500_000_000
"""A protobuf file is limited to 2 GB; weights beyond this go to a `.data` file beside it."""

BATCH = "n"


def find_opset(model: onnx.ModelProto) -> int:
    """The opset of the standard operators that a model declares."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def write_graph(
    model: onnx.ModelProto,
    path: Path,
    *,
    precision: str,
    kind: Kind,
    opset: int,
    step: str | None = None,
    external_above: int = EXTERNAL_BYTES,
) -> None:
    """Write `model` without traces of the exporter, label it, and check the resulting file.

    `step` is the step of the precision fallback at which it was built, if any.

    Raises:
        ExportError: another opset than requested, a fixed batch, or the ONNX checker rejects the graph.
    """
    strip_traces(model)
    # shapes of intermediates are derived data, and the exporter's symbols in them depend on earlier exports
    del model.graph.value_info[:]
    name_batch(model)
    labels = {"advcal_edge.kind": kind, "advcal_edge.opset": str(opset), "advcal_edge.precision": precision}
    onnx.helper.set_model_props(model, labels if step is None else {**labels, "advcal_edge.step": step})
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > external_above:
        location = f"{path.name}.data"
        path.with_name(location).unlink(missing_ok=True)  # onnx appends to an existing file
        onnx.save_model(model, str(path), save_as_external_data=True, location=location)
    else:
        onnx.save_model(model, str(path))
    check_graph(path, opset)


def label_step(path: Path, step: str) -> None:
    """Write the step of the precision fallback into a built graph; its weights are not touched."""
    model = onnx.load(str(path), load_external_data=False)
    labels = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**labels, "advcal_edge.step": step})
    path.write_bytes(model.SerializeToString())


def check_graph(path: Path, opset: int) -> None:
    """Check a written graph: valid with strict type inference, of this opset, every input and output batched by `n`.

    Raises:
        ExportError: a condition does not hold; the message says which.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"`{path.name}` is no valid ONNX: {first_line(error)}") from error
    model = onnx.load(str(path), load_external_data=False)
    if find_opset(model) != opset:
        raise ExportError(f"`{path.name}` has opset {find_opset(model)}; expected {opset}, as asked for")
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_param != BATCH:
            shape = [dim.dim_param or dim.dim_value for dim in dims]
            raise ExportError(
                f"`{value.name}` of `{path.name}` has shape {shape}; expected a dynamic batch `{BATCH}` first",
                hint="the module's code fixes the batch size: look for `int(x.shape[0])` and Python loops over it",
            )


def graph_files(path: Path) -> Sequence[Path]:
    """The file of a graph and, if there is one, the file of its weights."""
    data = path.with_name(f"{path.name}.data")
    return (path, data) if data.is_file() else (path,)


def strip_traces(message: Any) -> None:
    """Remove doc strings and metadata of a protobuf message at every level: exporters put source paths there."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in (value,) if hasattr(value, "DESCRIPTOR") else value:
                strip_traces(child)


def name_batch(model: onnx.ModelProto) -> None:
    """Name the symbol of every input's and output's first axis `n`; a fixed first axis stays fixed, to be refused."""
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim[:1]:
            if dim.dim_param:
                dim.dim_param = BATCH


@contextmanager
def suppress_output() -> Iterator[None]:
    """Suppress warnings, log lines and prints of the exporter, and restore the process's logging.

    They concern the exporter's internals; users cannot act on them.
    """
    disabled = logging.root.manager.disable
    handlers = list(logging.root.handlers)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        # `logging.warning` of the root logger, which ONNX Runtime's quantiser calls, installs a handler
        logging.root.handlers[:] = handlers
