"""The int8 graph: static quantisation of the matrix products, in the one form ONNX Runtime and TensorRT both take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from advcal_edge.errors import ExportError
from advcal_edge.export.anatomy import MATRIX_PRODUCTS, head_products, stem_products
from advcal_edge.export.graph_file import find_opset, first_line, graph_files, write_graph
from advcal_edge.export.quiet import quiet

OPTIONS = {
    "ActivationSymmetric": True,  # TensorRT rejects zero points other than 0
    "WeightSymmetric": True,
    "QuantizeBias": False,  # TensorRT rejects DequantizeLinear of int32
}

BATCH_SIZE = 8


class Samples(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime ships no types
    """Real inputs x (n, ...), handed to ONNX Runtime's calibrator a few at a time."""

    def __init__(self, x: NDArray[np.float32]) -> None:
        self._batches: Iterator[NDArray[np.float32]] = (x[i : i + BATCH_SIZE] for i in range(0, len(x), BATCH_SIZE))

    def get_next(self) -> dict[str, Any] | None:
        """The next batch by input name, or None at the end, as the calibrator asks for it."""
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


def convert_int8(source: Path, target: Path, calibration: NDArray[np.float32]) -> None:
    """Read an fp32 forward graph and write it with Q/DQ pairs scaled to `calibration` (n, *spec.shape), real samples.

    Activations are symmetric int8 a tensor, weights symmetric int8 a channel. The head stays fp32, since decisions are
    near ties of its output, and so does the first product, which reads the sensor: on bindlite that took a
    third off the error.

    Raises:
        ExportError: no samples, or a graph the quantiser or the ONNX checker refuses.
    """
    if len(calibration) == 0:
        raise ExportError("int8 needs calibration samples; found none", hint="calibrate again, with a larger data set")
    structure = onnx.load(str(source), load_external_data=False)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".int8.") as folder:
        quantised = Path(folder) / target.name
        try:
            with quiet():
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
                    nodes_to_exclude=sorted(head_products(structure.graph) | stem_products(structure.graph)),
                    extra_options=OPTIONS,
                )
        except Exception as error:  # the quantiser raises bare ValueError, RuntimeError and assertions
            raise ExportError(f"`{source.name}` cannot be quantised: {first_line(error)}") from error
        write_graph(onnx.load(str(quantised)), target, precision="int8", kind="forward", opset=find_opset(structure))
