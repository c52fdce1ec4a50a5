"""Plans built for real by TensorRT-RTX, which needs no GPU for it; and TensorRT's own rules, on a stand-in."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from onnx import helper

from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError, DependencyError, EngineError, ExportError
from advcal_edge.export.target import BuildOptions, load_target
from advcal_edge.export.tensorrt.build import build_error, build_plan, find_device
from advcal_edge.export.tensorrt.check_precision import check_precision
from advcal_edge.export.tensorrt.plans import build_plans, rebuild_plan
from advcal_edge.export.tensorrt.timing_cache import attach_timings, cache_path, slug
from advcal_edge.runtime.backends.trt_api import Product, find_product
from advcal_edge.runtime.engine import plan_metadata
from advcal_edge.runtime.metadata import Device, read_metadata
from advcal_edge.storage import sha256_file

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX has no wheel for this platform")


@pytest.fixture(scope="module")
def rtx() -> Product:
    return find_product("tensorrt_rtx")


@pytest.mark.parametrize(
    ("graph", "products"),
    [
        ("forward.fp32", {"fp32": 26}),
        ("forward.fp16", {"fp16": 25, "fp32": 1}),
        ("forward.int8", {"int8": 24, "fp32": 2}),
        ("vjp.fp32", {"fp32": 60}),
    ],
)
def test_every_graph_of_bindlite_builds(
    exported: Bundle, rtx: Product, tmp_path: Path, graph: str, products: dict[str, int]
) -> None:
    source, target = exported.file(f"onnx/{graph}.onnx"), tmp_path / "x.plan"
    card = build_plan(rtx, source, target, BuildOptions(batch=(1, 2, 4)))
    assert (card.kind, card.precision) == tuple(graph.split("."))
    assert card.achieved == card.precision
    assert Counter(card.layers.values()) == products
    assert set(card.layers) <= {node.name for node in onnx.load(str(source)).graph.node}
    assert (card.sha256, card.bytes) == (sha256_file(target), target.stat().st_size)
    assert card.graph_sha256 == sha256_file(source)
    assert "TF32" not in card.flags
    assert [shape[0] for shape in card.profiles["x"]] == [1, 2, 4]
    if find_device() is None:
        assert (card.device, card.evidence) == (None, "network")


def test_same_bytes_twice_where_asked(exported: Bundle, rtx: Product, tmp_path: Path) -> None:
    graph = exported.file("onnx/forward.fp16.onnx")
    first, second = (
        build_plan(rtx, graph, tmp_path / name, BuildOptions(deterministic=True)) for name in ("a.plan", "b.plan")
    )
    assert first.sha256 == second.sha256


def test_compute_capabilities_are_named(exported: Bundle, rtx: Product, tmp_path: Path) -> None:
    graph = exported.file("onnx/forward.fp16.onnx")
    card = build_plan(rtx, graph, tmp_path / "a.plan", BuildOptions(capabilities=((8, 9),)))
    assert card.targets == ((8, 9),)
    with pytest.raises(ConfigError, match=r"compute capability 9\.0; it has .*8\.9"):
        build_plan(rtx, graph, tmp_path / "b.plan", BuildOptions(capabilities=((9, 0),)))


def test_extra_outputs_break_fusions(exported: Bundle, rtx: Product, tmp_path: Path) -> None:
    graph = exported.file("onnx/forward.fp16.onnx")
    fused = build_plan(rtx, graph, tmp_path / "a.plan", BuildOptions())
    unfused = build_plan(rtx, graph, tmp_path / "b.plan", BuildOptions(break_fusions=True, step="unfused"))
    assert unfused.unfused
    assert unfused.sha256 != fused.sha256
    assert unfused.layers == fused.layers


def test_a_graph_of_unknown_operators_never_reaches_the_parser(rtx: Product, tmp_path: Path) -> None:
    graph = onnx.parser.parse_graph("g (float[n, 4] x) => (float[n, 4] z) { z = foo.Bar(x) }")
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("foo", 1)]
    path = tmp_path / "forward.fp32.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets), str(path))
    with pytest.raises(EngineError, match="foo"):
        build_plan(rtx, path, tmp_path / "a.plan", BuildOptions())


def test_a_graph_the_parser_rejects(rtx: Product, tmp_path: Path) -> None:
    graph = onnx.parser.parse_graph("g (float[n, 4, 4] x) => (float[n] z) { z = Det(x) }")
    opsets = [helper.make_opsetid("", 20)]
    path = tmp_path / "forward.fp32.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets), str(path))
    with pytest.raises(ExportError, match=r"TensorRT-RTX .* does not read `forward\.fp32\.onnx`"):
        build_plan(rtx, path, tmp_path / "x.plan")
    assert not (tmp_path / "x.plan").exists()


def test_an_fp32_graph_under_another_name(exported: Bundle, rtx: Product, tmp_path: Path) -> None:
    path = tmp_path / "forward.fp16.onnx"
    path.write_bytes(exported.file("onnx/forward.fp32.onnx").read_bytes())
    with pytest.raises(ExportError, match=r"precision not achieved: fp16 was asked for .* 26 matrix products as fp32"):
        build_plan(rtx, path, tmp_path / "x.plan")
    with pytest.raises(ConfigError, match="is not the name of a graph of a bundle"):
        build_plan(rtx, path.rename(tmp_path / "some.onnx"), tmp_path / "x.plan")


def test_the_engine_decides_where_there_is_one(rtx: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(text: str) -> str:
        layer = {"Name": "k", "Inputs": [{"DataType": text}], "Outputs": [], "Metadata": "[ONNX Layer: a]"}
        return json.dumps({"Layers": [layer]})

    device = Device("some", (8, 6))
    inspect = "advcal_edge.export.tensorrt.check_precision.inspect"
    monkeypatch.setattr(inspect, lambda product, data: told("Half"))
    assert check_precision(rtx, device, b"", "fp16", {"a": "fp16"})[1] == "engine"
    monkeypatch.setattr(inspect, lambda product, data: told("Float"))
    with pytest.raises(ExportError, match="precision not achieved"):
        check_precision(rtx, device, b"", "fp16", {"a": "fp16"})
    monkeypatch.setattr(inspect, lambda product, data: told("N/A due to dynamic shapes"))
    assert check_precision(rtx, device, b"", "fp16", {"a": "fp16"})[1] == "network"
    with pytest.raises(ExportError, match="precision cannot be asserted"):
        check_precision(Product("tensorrt", None, (10, 3)), device, b"", "fp16", {"a": "fp16"})


def test_plans_enter_the_bundle_and_replace_older_ones(exported: Bundle, rtx: Product, tmp_path: Path) -> None:
    shutil.copytree(exported.path, tmp_path / "B")
    bundle, identity = Bundle.open(tmp_path / "B"), exported.identity()
    names = ["onnx/forward.fp16.onnx", "onnx/vjp.fp32.onnx"]
    bundle, built = build_plans(bundle, rtx, names, BuildOptions(batch=(1, 1, 2)))
    cards = plan_metadata(bundle)
    assert {plan.path for plan in built} == set(cards)
    assert [plan.metadata for plan in built] == [cards[plan.path] for plan in built]
    assert bundle.identity() == identity  # plans are made for devices; what was calibrated stays the same
    bundle, again = build_plans(bundle, rtx, names[:1], BuildOptions(batch=(1, 1, 4)))
    left = set(plan_metadata(bundle))
    assert left == {again[0].path, built[1].path}
    assert {f"engines/{file.name}" for file in (bundle.path / "engines").glob("*.plan")} == left
    with pytest.raises(ConfigError, match="no graph to build from"):
        build_plans(bundle, rtx, [], BuildOptions())
    copy = rebuild_plan(bundle, rtx, again[0].metadata, tmp_path)
    card = read_metadata(copy)
    assert card is not None
    assert (card.sha256, card.profiles) == (again[0].metadata.sha256, again[0].metadata.profiles)


@pytest.mark.skipif(find_device() is not None, reason="this machine has a CUDA device")
def test_tensorrt_needs_a_device(exported: Bundle, tmp_path: Path) -> None:
    with pytest.raises((EngineError, DependencyError), match=r"no CUDA device can be used here|cuda-python"):
        build_plan(Product("tensorrt", None, (10, 3)), exported.file("onnx/forward.fp32.onnx"), tmp_path / "x.plan")


@pytest.mark.parametrize(
    ("errors", "words", "hint"),
    [
        (["Error Code 2: OutOfMemory (Requested size was 9)"], "ran out of memory .* 512 MiB", "--memory"),
        (["out of memory "], "ran out of memory", "--memory"),
        (["Timing cache miss while it is forbidden"], "--deterministic", "without `--deterministic`"),
        (["something else"], "something else", ""),
        ([], "gives no reason", ""),
    ],
)
def test_why_a_build_fails(rtx: Product, errors: list[str], words: str, hint: str) -> None:
    error = build_error(rtx, Path("forward.fp16.onnx"), BuildOptions(memory=512), errors)
    with pytest.raises(ExportError, match=words):
        raise error
    assert hint in (error.hint or "")


class Config:
    """What a builder of TensorRT keeps of timings."""

    def __init__(self, takes: bool = True) -> None:
        self.takes, self.data, self.flags = takes, b"", list[str]()

    def create_timing_cache(self, data: bytes) -> bytes:
        self.data = data
        return data

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        return self.takes and not ignore_mismatch

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)


EDITABLE, MISS = "EDITABLE_TIMING_CACHE", "ERROR_ON_TIMING_CACHE_MISS"


def tensorrt(**flags: str) -> Product:
    return Product("tensorrt", SimpleNamespace(BuilderFlag=SimpleNamespace(**flags)), (10, 3))


def test_timings_are_editable_and_a_miss_is_an_error_where_asked(tmp_path: Path) -> None:
    product, path = tensorrt(**{EDITABLE: "editable", MISS: "miss"}), tmp_path / "t.cache"
    first: Any = Config()
    attach_timings(product, first, path, deterministic=False)
    assert (first.data, first.flags) == (b"", ["editable"])
    with pytest.raises(ExportError, match="needs timings") as caught:
        attach_timings(product, Config(), path, deterministic=True)
    assert "without `--deterministic`" in str(caught.value.hint)
    path.write_bytes(b"timings")
    second: Any = Config()
    attach_timings(product, second, path, deterministic=True)
    assert (second.data, second.flags) == (b"timings", ["editable", "miss"])
    with pytest.raises(ExportError, match="another version or device"):
        attach_timings(product, Config(takes=False), path, deterministic=False)
    with pytest.raises(ExportError, match="has no `EDITABLE_TIMING_CACHE`"):
        attach_timings(tensorrt(), Config(), path, deterministic=True)


def test_timings_lie_beside_the_bundle(tmp_path: Path) -> None:
    path = cache_path(tmp_path / "B", tensorrt(), Device("NVIDIA Orin (nvgpu)", (8, 7)))
    assert path == tmp_path.resolve() / "B.timing" / "nvidia-orin-nvgpu-tensorrt10.3.cache"
    assert slug("../..") == "device"


@pytest.mark.parametrize("name", ["jetson-orin", "jetson-thor", "server", "rtx"])
def test_presets_are_targets(name: str) -> None:
    target = load_target(name)
    assert target.product == ("tensorrt_rtx" if name == "rtx" else "tensorrt")
    assert target.options().batch[0] == 1


def test_a_copied_preset_is_a_target(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('product = "tensorrt_rtx"\nbatch = "2,2,2"\ncapabilities = "8.6, 12.0"\n')
    options = load_target(str(path)).options()
    assert (options.batch, options.capabilities) == ((2, 2, 2), ((8, 6), (12, 0)))
    for text, words in (
        ('products = "x"', "unknown setting `products`"),
        ('product = "tensor"', "unknown value `tensor`"),
        ('batch = "3,2,1"', "expected `min,opt,max`"),
        ('batch = "1,2"', "expected `min,opt,max`"),
        (f'batch = "1,2,{"9" * 5000}"', "expected `min,opt,max`"),
        ("memory = 0", "expected MiB"),
        ('capabilities = "8.6"', "setting of TensorRT-RTX"),
        ('product = "tensorrt_rtx"\ncapabilities = "new"', "no compute capability"),
        ('product = "tensorrt_rtx"\nhardware = "ampere+"', "exclude each other"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            load_target(str(path)).options()
    with pytest.raises(ConfigError, match="unknown target `jetson-orion`") as caught:
        load_target("jetson-orion")
    assert "jetson-orin" in str(caught.value.hint or caught.value.message)
