"""The int8 graph: static quantisation of the matrix products, in the one form that ONNX Runtime and TensorRT share.

`quantise` also serves fp8: `fp8.py` makes its graph from the result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from advcal_edge.errors import ExportError, NothingReducedError, first_line
from advcal_edge.export.conversion import Conversion, Limit
from advcal_edge.export.graph_file import find_opset, graph_files, suppress_output, write_graph
from advcal_edge.export.graph_regions import MATRIX_PRODUCTS, products
from advcal_edge.export.precision import kept_nodes

OPTIONS = {
    "ActivationSymmetric": True,  # TensorRT rejects zero points other than 0
    "WeightSymmetric": True,
    "QuantizeBias": False,  # TensorRT rejects DequantizeLinear of int32
}

BATCH_SIZE = 8


class Samples(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime ships no types
    """Real inputs x (n, ...), passed to ONNX Runtime's calibrator a few at a time."""

    def __init__(self, x: NDArray[np.float32]) -> None:
        self._batches: Iterator[NDArray[np.float32]] = (x[i : i + BATCH_SIZE] for i in range(0, len(x), BATCH_SIZE))

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by input name, or None at the end, as the calibrator requires."""
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


def convert_int8(
    source: Path,
    target: Path,
    calibration: NDArray[np.float32],
    further: Collection[str] = (),
    step: str | None = None,
) -> None:
    """Read an fp32 forward graph and write it with Q/DQ pairs scaled to `calibration` (n, *spec.shape), real samples.

    Activations are symmetric int8 per tensor, weights symmetric int8 per channel. `further` names parts of the policy
    or single nodes that also stay fp32, at a `step` of the precision fallback.

    Raises:
        ExportError: no samples, nothing to quantise, or the quantiser or the ONNX checker rejects the graph.
    """
    model = quantise(source, calibration, "int8", further)
    write_graph(model, target, precision="int8", kind="forward", opset=find_opset(model), step=step)


INT8 = Conversion(
    convert=lambda source, target, calibration, further, step: convert_int8(
        source, target, calibration(), further, step
    ),
    limits=(Limit("cosine_mean", 0.9, "a small encoder may lose much; below this the graph is noise", lower=True),),
)


def quantise(
    source: Path, calibration: NDArray[np.float32], precision: str, further: Collection[str] = ()
) -> onnx.ModelProto:
    """The fp32 graph at `source` with int8 Q/DQ pairs around the products that the policy of `precision` allows.

    Raises:
        ExportError: no samples, nothing to quantise, or the quantiser rejects the graph.
    """
    if len(calibration) == 0:
        raise ExportError(
            f"{precision} needs calibration samples; found none", hint="calibrate again, with a larger data set"
        )
    structure = onnx.load(str(source), load_external_data=False)
    kept = kept_nodes(structure.graph, precision, further) & products(structure.graph)
    if kept == products(structure.graph):
        raise NothingReducedError(f"`{source.name}` has no matrix product left to quantise to {precision}")
    with tempfile.TemporaryDirectory(dir=source.parent, prefix=".quantised.") as folder:
        quantised = Path(folder) / source.name
        try:
            with suppress_output():
                quantize_static(
                    str(source),
                    str(quantised),
                    Samples(calibration),
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=sorted(MATRIX_PRODUCTS),
                    per_channel=True,
                    activation_type=QuantType.QInt8,
                    weight_type=QuantType.QInt8,
                    use_external_data_format=len(graph_files(source)) > 1,
                    nodes_to_exclude=sorted(kept),
                    extra_options=OPTIONS,
                )
            return onnx.load(str(quantised))
        except Exception as error:  # the quantiser raises bare ValueError, RuntimeError and assertions
            raise ExportError(f"`{source.name}` cannot be quantised: {first_line(error)}") from error
