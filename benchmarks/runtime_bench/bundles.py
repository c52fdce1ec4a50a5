"""Bundles to measure with: a small one, one with many samples, one with a heavy engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from advcal_edge.anchor import ANCHOR, AnchorFile, anchor_bytes
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.deploy import module_from_bundle
from advcal_edge.calibrate.run import calibrate
from advcal_edge.config import Layer, resolve
from advcal_edge.export.graphs import export_graphs
from advcal_edge.precision import PRECISIONS
from advcal_edge.probe import Probe

FEW = {"train": {"samples": 256, "epochs": 1}, "evaluate": {"samples": 50, "steps": 3, "queries": 10}}


def make(modality: str, path: Path) -> Path:
    """The embedded encoder, hardly calibrated, as fp32 and int8 graphs with a gradient."""
    layers = [Layer("benchmark", {"modality": modality, "out": str(path)}), Layer("benchmark", FEW)]
    bundle = calibrate(resolve(CalibrateConfig, layers)).bundle
    export_graphs(bundle, module_from_bundle(bundle), precisions=("fp32", "int8"))
    return path


def enlarge(path: Path, samples: int) -> None:
    """Fill the probe of a bundle up with its own samples."""
    bundle = Bundle.open(path)
    probe, spec = bundle.probe(), bundle.modality.input
    if len(probe) < samples:
        rows = np.arange(samples) % len(probe)
        anchor = next(AnchorFile.open(bundle, len(probe), bundle.centers().dim).blocks(len(probe), len(probe)))
        content = Probe(probe.x[rows], probe.y[rows]).to_bytes(spec)
        bundle.add({"probe.npz": content, ANCHOR: anchor_bytes(anchor[rows])})


def make_heavy(source: Path, path: Path, megabytes: int) -> Path:
    """A bundle with the sensor and centers of `source` and an fp32 graph of two matrices that weighs `megabytes`."""
    bundle = Bundle.open(source)
    spec, centers = bundle.modality.input, bundle.centers()
    size = int(np.prod(spec.shape))
    width = megabytes * 10**6 // (4 * (size + centers.dim))
    rng = np.random.default_rng(0)
    weights = {
        "A": rng.standard_normal((size, width), np.float32) / size**0.5,
        "B": rng.standard_normal((width, centers.dim), np.float32) / width**0.5,
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Add", ["f", "one"], ["g"]),
        helper.make_node("MatMul", ["g", "A"], ["h"]),
        helper.make_node("MatMul", ["h", "B"], ["y"]),
        helper.make_node("ReduceL2", ["y", "axis"], ["length"], keepdims=1),
        helper.make_node("Div", ["y", "length"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *spec.shape])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", centers.dim])],
        [
            *(numpy_helper.from_array(value, name) for name, value in weights.items()),
            numpy_helper.from_array(np.ones(1, np.float32), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    files = {PRECISIONS["fp32"].graph: model.SerializeToString(), "centers.safetensors": centers.to_bytes()}
    kept = {name: section for name, section in bundle.manifest.items() if name not in ("files", "graphs", "schema")}
    return Bundle.create(path, kept, files).path


def copy(source: Path, path: Path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(source, path)
    return path
