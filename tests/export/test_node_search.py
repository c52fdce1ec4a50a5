"""The search for single products to keep in fp32, on a small trunk of which one product is known to break."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from small_trunk import SPEC, SmallTrunk, build_trunk
from tiny import metrics

from advcal_edge.anchor import ANCHOR, anchor_bytes
from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.cli.export import search_text
from advcal_edge.errors import ConfigError, ExportError
from advcal_edge.export import node_ranking
from advcal_edge.export.fallback import find_step, node_step
from advcal_edge.export.fidelity import embed
from advcal_edge.export.flip_inputs import LIMIT, FlipInputs, craft_inputs, margins
from advcal_edge.export.graph_maker import GraphMaker
from advcal_edge.export.graph_regions import scopes
from advcal_edge.export.graphs import add_graphs
from advcal_edge.export.node_ranking import NodeTrials, group_products, rank_nodes
from advcal_edge.export.node_search import NodeSearch, shortest_passing
from advcal_edge.export.parity import GraphSearch, Search
from advcal_edge.export.result import ExportedGraph, ExportResult
from advcal_edge.export.run import ExportOptions, Watch
from advcal_edge.probe import Probe
from advcal_edge.report.nodes import NodeRanking
from advcal_edge.report.terms import Terms
from advcal_edge.spec import Modality
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.audit import audit
from advcal_edge.verify.models import open_reference
from advcal_edge.verify.options import VerifyOptions

SAMPLES = 24
OPTIONS = VerifyOptions(samples=SAMPLES, margin=0.25, reference="onnx")
"""Of 24 samples without a flip the drop is below 13.8 points, with one or two below 25."""
OUTLIER = 1e5  # above the largest number of fp16, and one of 127 steps of int8 is then 787
CULPRIT = "block.mlp.2"


def changed_trunk() -> SmallTrunk:
    """The small trunk with a hidden unit that is always large and never read: only the product after it breaks."""
    trunk = build_trunk()
    first, _, second = trunk.block.mlp
    with torch.no_grad():
        first.weight[0] = 0
        first.bias[0] = OUTLIER
        second.weight[:, 0] = 0
    return trunk


def patch(graph: Path, target: Path) -> None:
    """Write a graph of the small trunk with the weights of the changed one, instead of tracing that too."""
    old, new = build_trunk().state_dict(), changed_trunk().state_dict()
    pairs = [(old[key].numpy(), new[key].numpy()) for key in old if not torch.equal(old[key], new[key])]
    model, found = onnx.load(str(graph)), set()
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        for k, (before, after) in enumerate(pairs):
            for one, other in ((before, after), (before.T, after.T)):
                if value.shape == one.shape and np.array_equal(value, one):
                    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(other), tensor.name))
                    found.add(k)
    assert found == set(range(len(pairs))), "the exporter folded a changed weight into another"
    onnx.save(model, str(target))


@pytest.fixture
def broken(tmp_path: Path, forward_graph: Path, vjp_graph: Path) -> Bundle:
    """A bundle of the changed trunk with its fp32 graph and gradient, and samples of three patterns in noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, SAMPLES + 24)
    patterns = rng.random((3, 1, 5, 5)).repeat(8, axis=2).repeat(8, axis=3)
    x = (np.rint(255 * (0.9 * patterns[y] + 0.1 * rng.random((len(y), *SPEC.shape)))) / 255).astype(np.float32)
    z = embed(changed_trunk(), x)
    means = np.stack([z[y == label].mean(axis=0) for label in range(3)])
    vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
    centers, threat = Centers(("a", "b", "c"), vectors, 0.1, "test"), ThreatModel("linf", 1 / 255, (0.0, 1.0))
    files = {
        "centers.safetensors": centers.to_bytes(),
        "probe.npz": Probe(x[:SAMPLES], y[:SAMPLES]).to_bytes(SPEC),
        ANCHOR: anchor_bytes(z[:SAMPLES]),
        "calibration.npz": Probe(x[SAMPLES:], y[SAMPLES:]).to_bytes(SPEC),
    }
    manifest = {
        "modality": Modality("thermal", SPEC, "thermal", 8).to_json(),
        "threat": threat.to_json(),
        "metrics": metrics(threat, centers.predict(z[:SAMPLES]) == y[:SAMPLES]),
    }
    bundle = Bundle.create(tmp_path / "B", manifest, files)
    with bundle.staging() as folder:
        patch(forward_graph, folder / "forward.fp32.onnx")
        patch(vjp_graph, folder / "vjp.fp32.onnx")
        graphs = [ExportedGraph(f"onnx/{kind}.fp32.onnx", "fp32", kind, 0, 0.0, {}) for kind in ("forward", "vjp")]
        return add_graphs(bundle, folder, ExportResult(20, tuple(graphs)))


def make_maker(bundle: Bundle, folder: Path) -> GraphMaker:
    """A maker of graphs of the changed trunk, which need not be traced."""
    shutil.copyfile(bundle.path / "onnx/forward.fp32.onnx", folder / "forward.fp32.onnx")
    return GraphMaker(changed_trunk(), bundle, folder, 20)


def find_culprit(bundle: Bundle) -> str:
    """The name of the node that breaks."""
    graph = onnx.load(str(bundle.path / "onnx/forward.fp32.onnx")).graph
    (name,) = (name for name, scope in scopes(graph).items() if scope == CULPRIT)
    return name


def reports(bundle: Bundle) -> dict[str, dict[str, Any]]:
    """Documents by the step of their engine."""
    found = [json.loads(path.read_text()) for path in bundle.path.glob("reports/*/report.json")]
    return {document["measured"]["engine"]["step"]: document for document in found}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_product_that_breaks_is_named_first_and_alone_stays_fp32(broken: Bundle, precision: str) -> None:
    culprit, shown, path = find_culprit(broken), list[Search](), f"onnx/forward.{precision}.onnx"
    with broken.staging() as folder:
        watch = Watch(search=shown.append)
        search = NodeSearch(GraphSearch(broken.path, make_maker(broken, folder), precision, OPTIONS, watch))
        result = search.run()
        assert shown == [result]
        assert [attempt.verdict for attempt in result.attempts] == ["fail", "pass"]
        first_bytes, identity = (broken.path / path).read_bytes(), Bundle.open(broken.path).identity()
        # another set in its place, as in a search that goes on after a pass: the one that passed is put back
        assert result.ranking is not None
        search.graphs.build(node_step("nodes:2", result.ranking.names[:2]))
        assert (broken.path / path).read_bytes() != first_bytes
        search.finish()
    bundle = Bundle.open(broken.path)
    assert (bundle.path / path).read_bytes() == first_bytes
    assert bundle.identity() == identity

    assert result.reached is not None
    assert (result.reached.name, result.reached.nodes) == ("nodes:1", (culprit,))
    ranking = result.ranking
    worst = ranking.nodes[0]
    assert (worst.node, worst.kind, worst.scope) == (culprit, "MatMul", CULPRIT)
    assert ranking.flips > 0
    assert worst.removed is not None
    assert worst.removed >= 0.9 * ranking.flips
    assert all((node.removed or 0) <= 0.2 * ranking.flips for node in ranking.nodes[1:])
    assert worst.risk > 2 * max(node.risk for node in ranking.nodes[1:])
    assert ranking.inputs <= LIMIT
    assert ranking.builds == 1 + 2 * len(ranking.nodes)

    entry = bundle.section("graphs")["files"][path]
    assert (entry["step"], entry["kept"]) == ("nodes:1", [culprit])
    labels = {item.key: item.value for item in onnx.load(str(bundle.path / path)).metadata_props}
    assert labels["advcal_edge.step"] == "nodes:1"
    report = reports(bundle)["nodes:1"]
    assert report["derived"]["verdict"] == "pass"
    fallback = report["measured"]["fallback"]
    assert fallback["kept"] == [culprit]
    assert fallback["ranking"] == ranking.to_json() == result.to_json()["ranking"]
    assert [item["step"] for item in fallback["earlier"]] == ["as built"]
    assert report["derived"]["fallback"]["attempts"] == result.to_json()["attempts"]
    terms = Terms(bundle.threat, OPTIONS.margin)
    assert {finding.status for finding in audit(report, bundle, None, terms)} == {"ok"}
    forged = copy.deepcopy(report)
    forged["measured"]["fallback"]["kept"] = [ranking.names[1]]
    assert "measured.fallback.kept[0]" in {item.where for item in audit(forged, bundle) if item.status == "wrong"}
    text = search_text(result)
    row = next(line for line in text.splitlines() if line.startswith(culprit))
    assert row.split()[1:3] == ["MatMul", CULPRIT]
    assert f"{worst.removed} of {ranking.flips} flips" in row
    assert f"{precision} passes with 1 of {len(ranking.nodes)} products in fp32" in text


def test_where_no_set_passes_the_closest_is_named_and_no_graph_stays(broken: Bundle) -> None:
    """Eight samples decide nothing."""
    few = replace(OPTIONS, samples=8)
    with broken.staging() as folder:
        result = NodeSearch(GraphSearch(broken.path, make_maker(broken, folder), "fp16", few, Watch())).run()
    assert result.reached is None
    assert result.attempts[0].verdict == "fail"
    assert {attempt.verdict for attempt in result.attempts[1:]} == {"inconclusive"}
    assert result.ranking is not None
    sizes = [int(attempt.step.removeprefix("nodes:")) for attempt in result.attempts[1:]]
    assert sizes == [1, 2, 4, len(result.ranking.nodes) - 1]
    assert result.closest in {attempt.step for attempt in result.attempts}
    assert result.to_json()["closest"] == result.closest
    assert f"`{result.closest}` came closest" in search_text(result).replace("\n", " ")
    bundle = Bundle.open(broken.path)
    assert not bundle.has("onnx/forward.fp16.onnx")
    last = reports(bundle)[f"nodes:{sizes[-1]}"]["measured"]["fallback"]
    assert [item["step"] for item in last["earlier"]] == [attempt.step for attempt in result.attempts[:-1]]
    assert last["kept"] == list(result.ranking.names[: sizes[-1]])


def rank(bundle: Bundle, folder: Path, precision: str) -> NodeRanking:
    """The ranking of one precision, without any verification."""
    (folder / "ranking").mkdir()
    trials = NodeTrials(make_maker(bundle, folder), precision, folder / "ranking")
    reference = open_reference(bundle, OPTIONS.reference, OPTIONS.consent)
    return rank_nodes(trials, craft_inputs(bundle, reference, trials.engine(bundle, reference, "auto"), OPTIONS))


def test_fp8_and_bf16_are_ranked_where_no_gpu_runs_them(broken: Bundle, tmp_path: Path) -> None:
    for name in ("fp8", "bf16"):
        (tmp_path / name).mkdir()
    found = rank(broken, tmp_path / "fp8", "fp8")
    assert found.names[0] == find_culprit(broken)
    assert found.nodes[0].removed == max(node.removed or 0 for node in found.nodes) > 0
    harmless = rank(broken, tmp_path / "bf16", "bf16")  # it has the range of fp32
    assert len(harmless.nodes) == len(found.nodes)
    assert harmless.flips < found.flips


def test_the_number_of_graphs_is_bounded_and_the_culprit_still_first(
    broken: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ALONE": 6, "GROUPS": 2, "KEPT": 2}.items():
        monkeypatch.setattr(node_ranking, name, value)
    found = rank(broken, tmp_path, "fp16")
    assert len(found.nodes) == 7
    assert found.builds <= 1 + 6 + 2
    assert found.names[0] == find_culprit(broken)
    assert found.nodes[0].removed == found.flips
    assert sum(node.removed is not None for node in found.nodes) == 2


def test_products_are_grouped_by_block() -> None:
    def node(kind: str, name: str, value: str) -> onnx.NodeProto:
        return onnx.helper.make_node(kind, [value], [name], name=name)

    nodes, value = [node("MatMul", "stem", "x")], "stem"
    for k in range(100):
        for kind, part in (("LayerNormalization", "norm"), ("MatMul", "up"), ("MatMul", "down")):
            nodes.append(node(kind, f"{part}{k}", value))
            value = f"{part}{k}"
    nodes += [node("LayerNormalization", "last", value), node("MatMul", "head", "last")]
    graph = onnx.helper.make_graph(nodes, "g", [], [])
    products = [item.name for item in nodes if item.op_type == "MatMul" and item.name != "head"]
    groups = group_products(graph, products)
    assert len(groups) <= node_ranking.GROUPS
    assert [name for group in groups for name in group] == products
    assert all(
        {f"up{k}", f"down{k}"} & {*group} in ({f"up{k}", f"down{k}"}, set()) for group in groups for k in range(100)
    )


@pytest.mark.parametrize("most", [1, 2, 3, 12, 191])
def test_the_smallest_number_that_passes_is_found_with_few_questions(most: int) -> None:
    for smallest in range(1, most + 2):
        asked = list[int]()

        def passes(size: int, smallest: int = smallest, asked: list[int] = asked) -> bool:
            asked.append(size)
            return size >= smallest

        assert shortest_passing(most, passes) == (smallest if smallest <= most else None)
        assert len(set(asked)) == len(asked)
        assert all(1 <= size <= most for size in asked)
        assert len(asked) <= 2 * np.log2(most) + 1
    assert shortest_passing(0, lambda size: True) is None


def test_modules_are_those_of_the_encoder(forward_graph: Path) -> None:
    found = scopes(onnx.load(str(forward_graph)).graph)
    names = [*dict.fromkeys(found.values())]
    assert names == ["stem", "block.attention", "block.attention.out_proj", "block.mlp.0", "block.mlp.2", "head"]
    modules = dict(build_trunk().named_modules())
    assert all(scope in modules for scope in found.values())


def flip_inputs(reference: list[float], engine: list[float]) -> FlipInputs:
    x: NDArray[np.float32] = np.arange(len(reference), dtype=np.float32)
    centers = Centers(("a", "b"), np.eye(2, dtype=np.float32), 1.0, "test")
    return FlipInputs(x, np.zeros(len(x), np.int64), np.array(reference), np.array(engine), centers)


def test_a_flip_is_a_change_of_sign_and_what_is_no_number_is_wrong() -> None:
    inputs = flip_inputs([1.0, 1.0, -1.0, -1.0, 0.5], [0.5, -0.5, 2.0, np.nan, np.nan])
    assert inputs.flips.tolist() == [False, True, True, False, True]
    assert inputs.risk(inputs.reference) == 0
    assert inputs.risk(inputs.engine) == pytest.approx(0.5 + 4)  # at most 1 each
    assert inputs.nearest(4).x.tolist() == [4, 1, 2, 0]  # flips first, then by margin
    assert inputs.joined(inputs).x.tolist() == [*range(5), *range(5)]
    z = np.array([[0.8, 0.6], [0.6, 0.8], [np.nan, 0.0]], np.float32)
    assert margins(inputs.centers, z, np.zeros(3, np.int64))[:2].tolist() == pytest.approx([0.2, -0.2])
    assert np.isnan(margins(inputs.centers, z, np.zeros(3, np.int64))[2])


def test_the_same_nodes_give_the_same_bytes_and_a_name_of_another_graph_is_refused(
    broken: Bundle, tmp_path: Path
) -> None:
    """As a rebuild makes it: from the name of the step and the nodes in the manifest."""
    names, found = [find_culprit(broken)], []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        graph = make_maker(broken, folder).make("forward", "int8", find_step("nodes:1", names))
        assert graph.to_manifest(20)["kept"] == names
        found.append((folder / "forward.int8.onnx").read_bytes())
    assert found[0] == found[1]
    with pytest.raises(ExportError, match="no node of the fp32 graph is named `node_of_another`"):
        make_maker(broken, tmp_path / "a").make("forward", "fp16", find_step("nodes:1", ["node_of_another"]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"search": "nods", "until_parity": OPTIONS}, "did you mean `nodes`"),
        ({"search": "nodes"}, "without `--until-parity`"),
        ({"search": "nodes", "until_parity": OPTIONS, "plans": True}, "`--trt` exclude each other"),
        ({"search": "nodes", "until_parity": OPTIONS, "target": "rtx"}, "`--trt` exclude each other"),
    ],
)
def test_searches_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        ExportOptions(**options)
    assert words in f"{refused.value.message} {refused.value.hint}"
