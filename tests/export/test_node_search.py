"""The search for single products to keep in fp32, on small trunks of which one product is known to break."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from once import once_per_run
from small_trunk import EMBEDDING_DIM, SPEC, SmallTrunk, build_trunk

from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.errors import ExportError
from advcal_edge.export.fallback import find_step
from advcal_edge.export.fidelity import embed
from advcal_edge.export.flip_inputs import LIMIT, FlipInputs, craft_inputs, margins
from advcal_edge.export.graph_maker import GraphMaker
from advcal_edge.export.graph_regions import MATRIX_PRODUCTS, attention_scores, scopes
from advcal_edge.export.graphs import export_graphs
from advcal_edge.export.node_ranking import ALONE, GROUPS, KEPT, NodeTrials, group_products, rank_nodes
from advcal_edge.export.node_search import NodeSearch, shortest_passing
from advcal_edge.export.parity import GraphSearch
from advcal_edge.export.run import Watch
from advcal_edge.probe import Probe
from advcal_edge.report.derive import derive
from advcal_edge.spec import Modality
from advcal_edge.verify.options import VerifyOptions

SAMPLES = 64
OPTIONS = VerifyOptions(samples=SAMPLES, margin=0.06, reference="onnx")
"""Of 64 samples without a flip the drop is below 5.7 points."""


def raise_scores(trunk: SmallTrunk) -> None:
    """Give one head the same query and key for every token: scores of 90000, a mean of values."""
    attention = trunk.block.attention
    assert attention.bias_k is not None
    for start in (0, 32):
        attention.in_proj_weight[start : start + 16] = 0
        attention.in_proj_bias[start : start + 16] = 150
    attention.bias_k[..., :16] = 150


def add_outlier(trunk: SmallTrunk) -> None:
    """Give the MLP a hidden unit that is always 4000 and that nothing reads: one step of int8 is then 31."""
    first, _, second = trunk.block.mlp
    first.weight[0] = 0
    first.bias[0] = 4000
    second.weight[:, 0] = 0


CHANGES: dict[str, Callable[[SmallTrunk], None]] = {"scores": raise_scores, "outlier": add_outlier}


def changed(name: str) -> SmallTrunk:
    trunk = build_trunk()
    with torch.no_grad():
        CHANGES[name](trunk)
    return trunk


@pytest.fixture
def make_bundle(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """A bundle of a changed trunk with its fp32 graph and gradient; samples have the labels that the trunk gives."""

    def make(folder: Path, name: str) -> None:
        trunk = changed(name)
        rng = np.random.default_rng(0)
        y = rng.integers(0, 3, SAMPLES + 24)
        patterns = rng.random((3, 1, 5, 5)).repeat(8, axis=2).repeat(8, axis=3)
        noise = rng.random((len(y), *SPEC.shape))
        x = (np.rint(255 * (0.6 * patterns[y] + 0.4 * noise)) / 255).astype(np.float32)
        z = embed(trunk, x)
        means = np.stack([z[y == label].mean(axis=0) for label in range(3)])
        centers = Centers(("a", "b", "c"), means / np.linalg.norm(means, axis=1, keepdims=True), 0.1, "test")
        files = {
            "centers.safetensors": centers.to_bytes(),
            "probe.npz": Probe(x[:SAMPLES], y[:SAMPLES]).to_bytes(SPEC),
            "calibration.npz": Probe(x[SAMPLES:], y[SAMPLES:]).to_bytes(SPEC),
        }
        manifest = {
            "modality": Modality("thermal", SPEC, "thermal", 8).to_json(),
            "threat": {"norm": "linf", "eps": 4 / 255, "bounds": [0.0, 1.0]},
        }
        export_graphs(Bundle.create(folder, manifest, files), trunk, precisions=("fp32",))

    def copied(name: str) -> Bundle:
        import shutil

        source = once_per_run(tmp_path_factory, f"small {name}", lambda folder: make(folder, name))
        shutil.copytree(source, tmp_path / "B")
        return Bundle.open(tmp_path / "B")

    return copied


def search(bundle: Bundle, trunk: SmallTrunk, precision: str, options: VerifyOptions = OPTIONS) -> NodeSearch:
    """A finished search of one precision."""
    with bundle.staging() as folder:
        found = NodeSearch(GraphSearch(bundle.path, GraphMaker(trunk, bundle, folder, 20), precision, options, Watch()))
        found.run()
    return found


@pytest.mark.parametrize("case", [("scores", "fp16"), ("outlier", "int8")])
def test_x(case, make_bundle):
    import time
    t=time.time(); b=make_bundle(case[0]); print('make',time.time()-t)
    t=time.time(); f=search(b, changed(case[0]), case[1]); print('search', time.time()-t)
    from advcal_edge.cli.export import search_text
    print(search_text(f.result))
    from advcal_edge.report.text import verification_table
    for r in b.path.glob('reports/*/report.json'): print(verification_table(json.loads(r.read_text())))
