from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from small_trunk import EMBEDDING_DIM, SmallTrunk
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.bundle import Bundle
from advcal_edge.errors import FidelityError
from advcal_edge.export.conversion import Conversion, Limit
from advcal_edge.export.fallback import find_step, graph_steps
from advcal_edge.export.graph_file import write_graph
from advcal_edge.export.graph_maker import GraphMaker
from advcal_edge.export.graphs import add_graphs, export_graphs, remove_graph
from advcal_edge.export.precision import FURTHER, POLICY
from advcal_edge.export.result import ExportResult
from advcal_edge.precision import PRECISIONS, Precision
from advcal_edge.runtime.engine_file import EngineFile
from advcal_edge.runtime.model import open_runner

BUILT, ATTENTION, LAST, FULL = graph_steps()


class Mixer(nn.Module):
    """Two blocks without attention."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(40, EMBEDDING_DIM)
        self.norms = nn.ModuleList(nn.LayerNorm(EMBEDDING_DIM) for _ in range(3))
        self.layers = nn.ModuleList(nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x[:, 0])
        for norm, layer in zip(self.norms, self.layers, strict=False):
            tokens = tokens + layer(norm(tokens))
        return F.normalize(self.norms[2](tokens).mean(dim=1), dim=-1)


def label(path: Path) -> str | None:
    """The step that a graph says it was built at."""
    told = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    return told.get("advcal_edge.step")


def test_steps_that_change_nothing_reduce_the_same_products(bundle: Bundle, tmp_path: Path) -> None:
    torch.manual_seed(0)
    maker = GraphMaker(Mixer(), bundle, tmp_path, 20)
    built, attention, last = (maker.reduced("fp16", step) for step in (BUILT, ATTENTION, LAST))
    assert built == attention
    assert len(built - last) == 1


def test_each_step_reduces_less(bundle: Bundle, trunk: SmallTrunk, tmp_path: Path) -> None:
    maker = GraphMaker(trunk, bundle, tmp_path, 20)
    built, attention, last = (maker.reduced("int8", step) for step in (BUILT, ATTENTION, LAST))
    assert last < attention < built


def test_a_graph_tells_its_step_and_one_without_a_search_tells_none(
    bundle: Bundle, trunk: SmallTrunk, tmp_path: Path
) -> None:
    maker = GraphMaker(trunk, bundle, tmp_path, 20)
    for precision in ("fp16", "bf16", "int8", "fp8"):
        graph = maker.make("forward", precision, ATTENTION)  # type: ignore[arg-type]
        assert label(maker.path("forward", precision)) == graph.step == "fp32 attention"  # type: ignore[arg-type]
        assert graph.to_manifest(20)["step"] == "fp32 attention"
    plain = maker.make("forward", "fp32")
    assert label(maker.path("forward", "fp32")) is None
    assert "step" not in plain.to_json()
    size = maker.path("forward", "fp32").stat().st_size
    assert maker.make("forward", "fp32", FULL).step == "all fp32"
    assert label(maker.path("forward", "fp32")) == "all fp32"
    assert size < maker.path("forward", "fp32").stat().st_size < size + 100


def test_the_same_bytes_at_the_same_step(bundle: Bundle, trunk: SmallTrunk, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        maker = GraphMaker(trunk, bundle, tmp_path / name, 20)
        maker.make("forward", "fp8", find_step("fp32 attention"))
        found.append(maker.path("forward", "fp8").read_bytes())
    assert found[0] == found[1]


def test_an_overflow_that_a_cpu_hides_is_found_at_a_step(bundle: Bundle, trunk: SmallTrunk, tmp_path: Path) -> None:
    class Hot(nn.Module):
        """Scores of the same query and key everywhere, far above 65504."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(40, EMBEDDING_DIM)
            self.norm = nn.LayerNorm(EMBEDDING_DIM)
            self.value = nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM)
            self.query = nn.Linear(EMBEDDING_DIM, EMBEDDING_DIM)
            self.last = nn.LayerNorm(EMBEDDING_DIM)
            nn.init.zeros_(self.query.weight)
            nn.init.constant_(self.query.bias, 100.0)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.stem(x[:, 0])
            h = self.norm(tokens)
            q = self.query(h)
            scores = torch.softmax(q @ q.transpose(1, 2), dim=-1)
            return F.normalize(self.last(tokens + scores @ self.value(h)).mean(dim=1), dim=-1)

    torch.manual_seed(0)
    maker = GraphMaker(Hot(), bundle, tmp_path, 20)
    with pytest.raises(FidelityError, match="relative_l2 is nan"):
        maker.make("forward", "fp16", BUILT)
    fidelity = maker.make("forward", "fp16", ATTENTION).fidelity
    assert fidelity["emulated"] is True
    assert fidelity["relative_l2"] < 0.01
    assert np.isfinite(fidelity["max_abs"])


def test_graphs_are_added_and_taken_out(bundle: Bundle, trunk: SmallTrunk) -> None:
    with bundle.staging() as folder:
        maker = GraphMaker(trunk, bundle, folder, 20)
        made = maker.make("forward", "fp16", BUILT)
        full = add_graphs(bundle, folder, ExportResult(20, (made,)))
    assert full.section("graphs")["files"]["onnx/forward.fp16.onnx"]["step"] == "as built"
    assert full.file("onnx/forward.fp16.onnx").is_file()
    gone = remove_graph(full, "onnx/forward.fp16.onnx")
    assert not gone.has("onnx/forward.fp16.onnx")
    assert gone.section("graphs")["files"] == {}
    assert not (gone.path / "onnx" / "forward.fp16.onnx").exists()
    assert remove_graph(gone, "onnx/forward.fp16.onnx").manifest == gone.manifest


def convert_int6(
    source: Path,
    target: Path,
    calibration: Callable[[], NDArray[np.float32]],
    further: Collection[str],
    step: str | None,
) -> None:
    """Round the constant weights to 6 bits per tensor."""
    model = onnx.load(str(source))
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim == 2:
            scale = np.abs(values).max() / np.float32(31)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.round(values / scale) * scale, tensor.name))
    write_graph(model, target, precision="int6", kind="forward", opset=20, step=step)


INT6 = Conversion(convert_int6, (Limit("cosine_mean", 0.8, "5 bits and a sign", lower=True),))


def test_a_precision_is_its_definition_and_its_converter(
    bundle: Bundle, trunk: SmallTrunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    int6 = Precision("int6", speed=3, family="quantised", conversion=f"{__name__}:INT6", default=False)
    monkeypatch.setitem(PRECISIONS, "int6", int6)  # type: ignore[arg-type]
    bundle, result = export_graphs(bundle, trunk, precisions=("int6",), gradient=False)
    (graph,) = result.graphs
    assert graph.path == int6.graph
    assert 0.8 < graph.fidelity["cosine_mean"] < 0.99999
    assert {"attention scores", "head"} <= {part.name for part in (*POLICY, *FURTHER) if int6.family in part.applies}
    runner = open_runner(EngineFile.of(bundle.file(int6.graph)), bundle.modality.input)
    assert runner.precision == "int6"
    assert runner(bundle.probe().x).shape == (12, EMBEDDING_DIM)
