"""A plan without a report is retested for a verified engine from the same graph, and never counts as verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from host_trt import HostGpu, host_gpu
from rebuilt import GRAPH, UPDATED, build, claim, verified_bundle
from tiny import Linear, report_for

from advcal_edge import Embedder
from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import BundleError, EngineError
from advcal_edge.expectations import Expectations, selftest_name
from advcal_edge.runtime.engine import choose_engine
from advcal_edge.runtime.relative import find_relative
from advcal_edge.spec import thermal
from advcal_edge.storage import sha256_file

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def verified_plan(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return verified_bundle(tmp_path_factory.mktemp("plan") / "B", plan=True)


@pytest.fixture(scope="module")
def verified_graph(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return verified_bundle(tmp_path_factory.mktemp("graph") / "B", plan=False)


@pytest.fixture
def of_plan(verified_plan: Bundle, tmp_path: Path) -> Bundle:
    return Bundle.open(shutil.copytree(verified_plan.path, tmp_path / "P"))


@pytest.fixture
def of_graph(verified_graph: Bundle, tmp_path: Path) -> Bundle:
    return Bundle.open(shutil.copytree(verified_graph.path, tmp_path / "G"))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostGpu]:
    """A machine with the next version of TensorRT."""
    monkeypatch.setattr("host_trt.VERSION", UPDATED)
    with host_gpu(monkeypatch) as found:
        yield found


def plans(bundle: Bundle) -> list[str]:
    return [name for name in Bundle.open(bundle.path).manifest["files"] if name.startswith("engines/")]


def test_a_plan_built_after_an_update_is_retested_for_the_one_before(gpu: HostGpu, of_plan: Bundle) -> None:
    (before,) = (name for name in plans(of_plan) if name.endswith(".plan"))
    with pytest.raises(EngineError, match="plans do not move between versions"):
        Embedder.load(of_plan.path, before)
    name = build(of_plan)
    assert name != before
    embedder = Embedder.load(of_plan.path, selftest=True, require_verified="retested")  # `auto` finds it
    assert embedder.runner.path == of_plan.path / name
    assert not embedder.verified
    assert embedder.abstention is None
    found = embedder.selftest
    assert found is not None
    assert (found.status, found.failures) == ("retested", ())
    assert found.verified_sha256 == sha256_file(of_plan.path / before)
    assert found.differences == (
        f"engine: `{before}` ({found.verified_sha256[:8]}) when verified,"
        f" another file built from the same `{GRAPH}` here",
        "runs on: TensorRT 10.3.0 Host Orin when verified, TensorRT 10.7.0 Host Orin here",
    )
    with pytest.raises(EngineError, match="expected one for exactly these bytes"):
        Embedder.load(of_plan.path, name, require_verified=True, selftest=True)


def test_the_files_of_the_verified_plan_may_be_gone(gpu: HostGpu, of_plan: Bundle) -> None:
    old = plans(of_plan)
    name = build(of_plan)
    Bundle.open(of_plan.path).remove(old)
    embedder = Embedder.load(of_plan.path, name, selftest=True, require_verified="retested")
    assert embedder.selftest is not None
    assert old[0].rpartition(".")[0] in embedder.selftest.differences[0]


def test_a_plan_is_retested_for_the_graph_it_was_built_from(gpu: HostGpu, of_graph: Bundle, capsys: Capture) -> None:
    name = build(of_graph)
    assert main(["selftest", str(of_graph.path), "--engine", name, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "retested"
    assert document["verified_sha256"] == sha256_file(of_graph.path / GRAPH)
    assert (
        f"`{GRAPH}` ({document['verified_sha256'][:8]}) when verified, a plan built from it"
        in document["differences"][0]
    )
    assert document["differences"][1].endswith("TensorRT 10.7.0 Host Orin here")
    assert Embedder.load(of_graph.path, name, selftest=True, require_verified="retested").precision == "fp16"


def test_auto_takes_it_only_where_retested_engines_are_accepted(gpu: HostGpu, of_graph: Bundle) -> None:
    name = build(of_graph)
    bundle = Bundle.open(of_graph.path)
    assert choose_engine(bundle, "auto") == bundle.path / GRAPH
    assert choose_engine(bundle, "auto", retested=True) == bundle.path / name
    assert Embedder.load(bundle.path, selftest=True, require_verified=True).runner.path == bundle.path / GRAPH


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_where_a_plan_failed_its_graph_vouches_for_no_other(gpu: HostGpu, of_plan: Bundle, verdict: str) -> None:
    (before,) = (name for name in plans(of_plan) if name.endswith(".plan"))
    name, report = build(of_plan), f"reports/{sha256_file(of_plan.path / before)[:8]}/report.json"
    document = json.loads((of_plan.path / report).read_text())
    document["derived"]["verdict"] = verdict
    Bundle.open(of_plan.path).add({report: json.dumps(document).encode()})
    if verdict == "fail":
        with pytest.raises(EngineError, match="built from the same graph, failed its verification"):
            Embedder.load(of_plan.path, name, selftest=True)
    else:
        found = Embedder.load(of_plan.path, name, selftest=True).selftest
        assert found is not None
        assert found.verified_sha256 == sha256_file(of_plan.path / GRAPH)


def test_coarser_weights_fail(gpu: HostGpu, of_graph: Bundle, capsys: Capture) -> None:
    name = claim(of_graph, Linear.random(thermal(4)).forward("int8"), version=UPDATED)
    with pytest.raises(EngineError, match=r"fails its self-test: .*embeddings moved by more than"):
        Embedder.load(of_graph.path, name, selftest=True, require_verified="retested")
    assert main(["selftest", str(of_graph.path), "--engine", name, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "failed"


def test_a_plan_of_a_graph_that_was_replaced_is_refused(gpu: HostGpu, of_plan: Bundle) -> None:
    name = build(of_plan)
    Bundle.open(of_plan.path).add({GRAPH: Linear.random(thermal(4), seed=1).forward("fp16")})
    with pytest.raises(EngineError, match=f"`{GRAPH}` there is not the graph from which it was built") as refused:
        Embedder.load(of_plan.path, name, selftest=True)
    assert refused.value.hint == f"build it again: `advcal-edge export {of_plan.path} --trt`"


@pytest.mark.parametrize(
    ("product", "version", "taken"), [("tensorrt", [10, 5, 0], True), ("tensorrt_rtx", [99, 0, 0], False)]
)
def test_of_several_plans_the_latest_of_the_same_product_is_taken(
    gpu: HostGpu, of_plan: Bundle, product: str, version: list[int], taken: bool
) -> None:
    (before,) = (name for name in plans(of_plan) if name.endswith(".plan"))
    first, other = sha256_file(of_plan.path / before), "b" * 64
    report = (of_plan.path / f"reports/{first[:8]}/report.json").read_text().replace(first, other)
    document = json.loads(report)
    document["measured"]["engine"]["plan"] |= {"product": product, "version": version}
    embedder = Embedder.load(of_plan.path, "fp16")
    width, classes = embedder.centers.dim, len(embedder.labels)
    stored = replace(Expectations.read(of_plan, first, embedder.spec, width, classes), sha256=other)
    of_plan.add(
        {f"reports/{other[:8]}/report.json": json.dumps(document).encode(), selftest_name(other): stored.to_bytes()}
    )
    name = build(of_plan)
    bundle = Bundle.open(of_plan.path)
    found = find_relative(bundle, Path(name), bundle.manifest["files"][name]["sha256"])
    assert found.sha256 == (other if taken else first)


@pytest.mark.parametrize("report", [b"no json", b"[]", b'{"schema": "advcal-edge/report/1"}'])
def test_reports_that_cannot_be_read_vouch_for_nothing(gpu: HostGpu, of_graph: Bundle, report: bytes) -> None:
    of_graph.add({"reports/00000000/report.json": report})
    found = Embedder.load(of_graph.path, build(of_graph), selftest=True).selftest
    assert found is not None
    assert found.verified_sha256 == sha256_file(of_graph.path / GRAPH)


def test_a_plan_of_another_step_is_no_relative_but_the_graph_is(gpu: HostGpu, of_plan: Bundle) -> None:
    name = claim(of_plan, of_plan.file(GRAPH).read_bytes(), version=UPDATED, step="extra outputs")
    found = Embedder.load(of_plan.path, name, selftest=True, require_verified="retested").selftest
    assert found is not None
    assert found.verified_sha256 == sha256_file(of_plan.path / GRAPH)


@pytest.mark.parametrize("changes", [{"kind": "vjp"}, {"graph_sha256": "0" * 64}, {"precision": "fp32"}])
def test_metadata_that_name_no_graph_of_the_bundle_are_refused(
    gpu: HostGpu, of_graph: Bundle, changes: dict[str, str]
) -> None:
    name = claim(of_graph, of_graph.file(GRAPH).read_bytes(), version=UPDATED, **changes)
    with pytest.raises(EngineError, match="has no passing report"):
        Embedder.load(of_graph.path, name, selftest=True, require_verified="retested")


def test_a_graph_without_a_report_vouches_for_no_plan(gpu: HostGpu, of_graph: Bundle) -> None:
    name = build(of_graph)
    bundle = Bundle.open(of_graph.path)
    bundle.remove([file for file in bundle.manifest["files"] if file.endswith("/report.json")])
    with pytest.raises(EngineError, match=f"neither has `{GRAPH}`, from which it was built") as refused:
        Embedder.load(bundle.path, name, selftest=True)
    assert refused.value.hint == f"`advcal-edge verify {bundle.path} --engine {bundle.path / name}`"


def test_a_plan_with_a_report_of_its_own_has_no_relative(gpu: HostGpu, of_graph: Bundle) -> None:
    name = build(of_graph)
    bundle = Bundle.open(of_graph.path)
    bundle = bundle.add(dict([report_for(bundle.file(name).read_bytes(), "fail", bundle=bundle)]))
    with pytest.raises(EngineError, match="its own report does not count"):
        Embedder.load(bundle.path, name, selftest=True, require_verified="retested")


def test_what_the_bundle_does_not_list_is_refused(gpu: HostGpu, of_graph: Bundle, tmp_path: Path) -> None:
    name = build(of_graph)
    beside = name.replace(".plan", ".json")
    bundle = Bundle.open(of_graph.path)
    for file in (name, beside):
        shutil.copy(bundle.path / file, tmp_path)
    bundle.remove([name, beside])
    with pytest.raises(EngineError, match=r"has no passing report in `.*`; a self-test repeats one"):
        Embedder.load(bundle.path, str(tmp_path / Path(name).name), selftest=True, require_verified="retested")


def test_changed_metadata_are_refused(gpu: HostGpu, of_graph: Bundle) -> None:
    name = build(of_graph)
    path = of_graph.path / name.replace(".plan", ".json")
    path.write_text(path.read_text().replace('"seconds"', '"seconds" '))
    with pytest.raises(BundleError, match="was changed or truncated"):
        Embedder.load(of_graph.path, name, selftest=True, require_verified="retested")
