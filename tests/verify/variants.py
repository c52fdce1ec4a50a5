"""An encoder's graph in other words, as exporters and runtimes write it, and the census of each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from gated_graphs import SIZE
from numpy.typing import NDArray
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

from advcal_edge.runtime.backends.graph_scan import Scan
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.verify.census.decision import Census, Decision
from advcal_edge.verify.census.flow import Flow

CPU = ["CPUExecutionProvider"]
X = np.random.default_rng(0).random((16, 3, SIZE, SIZE), np.float32)


def census(path: Path, output: str | None = "z") -> Census:
    file = EngineFile.of(path)
    return Flow(file, (0.0, 1.0)).run(Scan(file.data, path).model(), output)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def unexplained(path: Path, by: Path) -> list[Decision]:
    return list(census(path).unexplained(census(by).counts))


class Reader(CalibrationDataReader):
    """Inputs x (n, ...) as one batch."""

    def __init__(self, x: NDArray[np.float32]) -> None:
        self.left = iter([{"x": x}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def variants(
    source: Path, folder: Path, x: NDArray[np.float32] = X, opsets: Sequence[int] = (18, 19, 21)
) -> Iterator[Path]:
    """The same function in other words, as exporters and runtimes write it; x (n, ...) sets the range of int8."""
    model = onnx.load(source)
    for opset in opsets:
        yield saved(version_converter.convert_version(model, opset), folder / f"opset{opset}.onnx")
    for level in ("BASIC", "EXTENDED"):
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = os.fspath(folder / f"{level}.onnx")
        ort.InferenceSession(source, options, providers=CPU)
        yield folder / f"{level}.onnx"
    quantize_dynamic(source, folder / "dynamic.onnx")
    yield folder / "dynamic.onnx"
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(source, folder / f"{form}.onnx", Reader(x), form)
        yield folder / f"{form}.onnx"
    outside = folder / "outside.onnx"
    onnx.save(model, outside, save_as_external_data=True, location="outside.onnx.data", size_threshold=0)
    yield outside
