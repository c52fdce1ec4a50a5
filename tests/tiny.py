"""A tiny real bundle: a linear encoder as ONNX graphs, its exact gradient, samples, centers and reports."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sample_report import document, measure

from advcal_edge.anchor import ANCHOR, anchor_bytes
from advcal_edge.bundle import REPORT_SCHEMA, Bundle
from advcal_edge.centers import Centers
from advcal_edge.errors import BundleError
from advcal_edge.manifest import SCHEMA
from advcal_edge.probe import Probe, from_levels
from advcal_edge.report.calibration import stated_figures
from advcal_edge.retrieval import share
from advcal_edge.runtime.engine import listed_digest, read_listed
from advcal_edge.spec import Modality, thermal
from advcal_edge.storage import sha256_bytes
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.census.engine import census_of_file
from advcal_edge.verify.census.explanation import find_explanation

DIM, CLASSES, SAMPLES = 6, 4, 12
PROVIDER = "CPUExecutionProvider"

BundleMaker = Callable[..., Bundle]


@dataclass(frozen=True)
class Linear:
    """z = xW / |xW|, as graphs and as plain arithmetic to compare with."""

    modality: Modality
    weights: NDArray[np.float32]

    @classmethod
    def random(cls, modality: Modality, seed: int = 0) -> Linear:
        size = int(np.prod(modality.input.shape))
        return cls(modality, np.random.default_rng(seed).standard_normal((size, DIM)).astype(np.float32))

    def embed(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        y = x.reshape(len(x), self.weights.shape[0]).astype(np.float64) @ self.weights
        z: NDArray[np.float64] = y / np.linalg.norm(y, axis=1, keepdims=True)
        return z

    def forward(self, precision: str = "fp32", shape: tuple[int | str, ...] | None = None, scale: float = 1.0) -> bytes:
        half = precision == "fp16"
        weights = np.round(self.weights, 1) if precision == "int8" else self.weights
        nodes = [helper.make_node("Flatten", ["x"], ["f"])]
        nodes += [helper.make_node("Cast", ["f"], ["h"], to=TensorProto.FLOAT16)] if half else []
        nodes += [helper.make_node("MatMul", ["h" if half else "f", "W"], ["m" if half else "y"])]
        nodes += [helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT)] if half else []
        nodes += [
            helper.make_node("ReduceL2", ["y", "axis"], ["length"], keepdims=1),
            helper.make_node("Div", ["y", "length"], ["unit"]),
            helper.make_node("Mul", ["unit", "scale"], ["z"]),
        ]
        constants = {
            "W": weights.astype(np.float16 if half else np.float32),
            "axis": np.array([1], np.int64),
            "scale": np.array([scale], np.float32),
        }
        inputs = {"x": shape or ("n", *self.modality.input.shape)}
        return encode(nodes, inputs, {"z": ("n", DIM)}, constants, precision)

    def vjp(self) -> bytes:
        nodes = [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("MatMul", ["f", "W"], ["y"]),
            helper.make_node("ReduceL2", ["y", "axis"], ["length"], keepdims=1),
            helper.make_node("Div", ["y", "length"], ["z"]),
            helper.make_node("Mul", ["z", "v"], ["zv"]),
            helper.make_node("ReduceSum", ["zv", "axis"], ["along"], keepdims=1),
            helper.make_node("Mul", ["z", "along"], ["radial"]),
            helper.make_node("Sub", ["v", "radial"], ["tangent"]),
            helper.make_node("Div", ["tangent", "length"], ["dy"]),
            helper.make_node("MatMul", ["dy", "WT"], ["df"]),
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Reshape", ["df", "shape"], ["g"]),
        ]
        constants: dict[str, NDArray[Any]] = {
            "W": self.weights,
            "WT": self.weights.T.copy(),
            "axis": np.array([1], np.int64),
        }
        batch: tuple[int | str, ...] = ("n", *self.modality.input.shape)
        return encode(nodes, {"x": batch, "v": ("n", DIM)}, {"z": ("n", DIM), "g": batch}, constants, "fp32")


def encode(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int | str, ...]],
    outputs: Mapping[str, tuple[int | str, ...]],
    constants: Mapping[str, NDArray[Any]],
    precision: str,
) -> bytes:
    """An ONNX file of float32 inputs and outputs."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"advcal_edge.precision": precision})
    return bytes(model.SerializeToString())


def report_for(
    engine: bytes,
    verdict: str = "pass",
    /,
    *,
    schema: str = REPORT_SCHEMA,
    bundle: Bundle | None = None,
    samples: int = 200,
    lost: float | None = None,
    **changes: object,
) -> tuple[str, bytes]:
    """Name and bytes of a report on an engine of a bundle, by default of the tiny one of an 8 x 8 thermal sensor."""
    bundle = bundle or unwritten(Linear.random(thermal(8)))
    sha256 = sha256_bytes(engine)
    share = {"pass": 0.0, "inconclusive": 0.02, "fail": 0.3}[verdict] if lost is None else lost
    measured = measure(samples, lost=share, gained=0.0, flipped=0.0)
    measured["engine"] |= {"sha256": sha256, "fingerprint": f"onnxruntime 1.32.0 {PROVIDER} all sha256:{sha256[:12]}"}
    measured["hashes"] |= {
        "engine": sha256,
        "graph": sha256,
        **hashes_of(bundle),
    }
    measured["calibration"] = {**(stated_figures(bundle.manifest, "the tiny bundle") or {}), "attacked": None}
    measured |= changes
    try:
        content = document(measured)
    except BundleError:
        content = {"measured": measured, "derived": {}}
    assert changes or content["derived"]["verdict"] == verdict
    return f"reports/{sha256[:8]}/report.json", json.dumps({**content, "schema": schema}).encode()


def hashes_of(bundle: Bundle) -> dict[str, str]:
    """What a report states of a bundle, whatever the engine is."""
    files = {"data": "probe.npz", "centers": "centers.safetensors", "gradient": "onnx/vjp.fp32.onnx"}
    return {"bundle": bundle.origin(), **{key: bundle.manifest["files"][name]["sha256"] for key, name in files.items()}}


def bound(measured: dict[str, Any], bundle: Bundle, name: str = "onnx/forward.int8.onnx") -> dict[str, Any]:
    """The measurements as if they had been made on an engine of this bundle."""
    found, files = copy.deepcopy(measured), bundle.manifest["files"]
    labels, y = bundle.centers().labels, bundle.probe().y
    digest = listed_digest(bundle, name)
    if "rebuilds" in found:
        found["rebuilds"]["builds"][0] = digest
    found["engine"] |= {"path": name, "sha256": digest, "bytes": (bundle.path / name).stat().st_size}
    found["engine"]["precision"] = name.split(".")[1]
    explanation, bounds = find_explanation(bundle), bundle.modality.input.bounds
    found["engine"]["census"] = census_of_file(read_listed(bundle, name), explanation, "z", bounds)
    found["hashes"] |= {"engine": digest, "graph": digest, **hashes_of(bundle)}
    found["calibration"] = {**(stated_figures(bundle.manifest, "it") or {}), "attacked": None}
    found["threat"] = bundle.threat.to_json()
    listed = {name: entry["sha256"] for name, entry in files.items()}
    found["context"] = {"hashes": listed, "modality": bundle.manifest["modality"]}
    found["labels"], found["truth"] = list(labels), y[: len(found["truth"])].tolist()
    for item in found["gallery"]:
        item["truth"] = labels[int(y[item["sample"]])]
        item["after"] = next(label for label in labels if label != item["truth"])
    return found


def probe_bytes(linear: Linear, samples: int = SAMPLES) -> bytes:
    """The held-out samples of the tiny bundle."""
    rng = np.random.default_rng(2)
    shape = linear.modality.input.shape
    x = rng.integers(0, 256, (samples, *shape)).astype(np.float32) / np.float32(255)
    return Probe(x, labels(linear, x, rng)).to_bytes(linear.modality.input)


def metrics(threat: ThreatModel, right: NDArray[np.bool_]) -> dict[str, Any]:
    """The figures of a manifest for a model that is right on these clean samples (n,).

    As worst case it states that no sample withstands, which no attack contradicts.
    """
    row = {"clean": share(right), "worst": share(np.zeros_like(right))}
    for figure in row.values():
        figure["correct"] = figure["hits"]
    return {"threat": threat.to_json(), "n": len(right), "budgets": {}, "before": row, "after": row}


def foundation(linear: Linear, samples: int = SAMPLES) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Sections and files of the tiny bundle as `calibrate` would write them."""
    modality, probe = linear.modality, probe_bytes(linear, samples)
    file = io.BytesIO(probe)
    with np.load(file) as arrays:
        stored, y = arrays["x"], arrays["y"]
    x = from_levels(stored, modality.input) if stored.dtype.kind == "u" else stored
    z = linear.embed(x).astype(np.float32)
    right = make_centers().predict(z) == y
    threat = ThreatModel("linf", 4 / 255, modality.input.bounds)
    manifest = {"modality": modality.to_json(), "threat": threat.to_json(), "metrics": metrics(threat, right)}
    files = {"centers.safetensors": make_centers().to_bytes(), "probe.npz": probe, ANCHOR: anchor_bytes(z)}
    return manifest, files


def unwritten(linear: Linear, samples: int = SAMPLES) -> Bundle:
    """The tiny bundle with the gradient and no engine, as far as its manifest."""
    manifest, files = foundation(linear, samples)
    files["onnx/vjp.fp32.onnx"] = linear.vjp()
    entries = {name: {"sha256": sha256_bytes(data), "bytes": len(data)} for name, data in files.items()}
    return Bundle(Path("unwritten"), {"schema": SCHEMA, **manifest, "files": entries})


def make_centers() -> Centers:
    vectors = np.random.default_rng(1).standard_normal((CLASSES, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Centers(("car", "cat", "cup", "person"), vectors, 0.1, "test")


def labels(linear: Linear, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """What the encoder says, except for one sample in eight."""
    truth = make_centers().predict(linear.embed(x).astype(np.float32))
    wrong: NDArray[np.int64] = np.where(rng.random(len(x)) < 1 / 8, (truth + 1) % CLASSES, truth).astype(np.int64)
    return wrong


def write_bundle(
    path: Path,
    linear: Linear,
    precisions: tuple[str, ...],
    verdicts: Mapping[str, str],
    *,
    samples: int = SAMPLES,
    gradient: bool = True,
) -> Bundle:
    """A bundle with a graph for each precision, with them the gradient unless it is left out, a report a verdict."""
    manifest, files = foundation(linear, samples)
    graphs = {f"onnx/forward.{p}.onnx": linear.forward(p) for p in precisions}
    listed = {"files": {n: {"precision": n.split(".")[1], "kind": "forward"} for n in graphs}}
    backward = {"onnx/vjp.fp32.onnx": linear.vjp()} if gradient and precisions else {}
    bundle = Bundle.create(path, {**manifest, "graphs": listed}, {**files, **backward, **graphs})
    reports = dict(report_for(linear.forward(p), verdict, bundle=bundle) for p, verdict in verdicts.items())
    return bundle.add(reports) if reports else bundle
