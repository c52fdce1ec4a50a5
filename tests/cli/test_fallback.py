"""The precision fallback: its logic on verdicts by hand, and real searches with encoders that overflow in fp16."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import overflowing
import pytest
import torch
from jsonschema import Draft202012Validator
from tiny import metrics

from advcal_edge.anchor import ANCHOR, anchor_bytes
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.deploy import module_from_bundle
from advcal_edge.calibrate.run import calibrate
from advcal_edge.cli import main
from advcal_edge.cli.export import outcome, search_text
from advcal_edge.config import Layer, resolve
from advcal_edge.consent import trust
from advcal_edge.errors import ExportError, FidelityError
from advcal_edge.export.fallback import STEPS, Step, graph_steps
from advcal_edge.export.parity import Search, Unchanged, search
from advcal_edge.report.text import verification_table

FP16 = "onnx/forward.fp16.onnx"
SCHEMA = Path(__file__).parents[2] / "advcal_edge" / "report" / "report.schema.json"
UNTIL_PARITY = ["--precision", "fp16", "--until-parity", "--samples", "64", "--margin", "0.06"]
"""Of 64 samples without a flip the drop is below 5.7 points."""


def judged(verdicts: Mapping[str, str]) -> Callable[[str, Step, Search], dict[str, Any]]:
    """Reports with these verdicts by step."""

    def judge(engine: str, step: Step, fallback: Search) -> dict[str, Any]:
        assert engine == f"{step.name}.onnx"
        assert all(attempt.verdict != "pass" for attempt in fallback.attempts)
        verdict = verdicts[step.name]
        return {
            "sha256": step.name * 3,
            "verdict": verdict,
            "reasons": [] if verdict == "pass" else ["so it is"],
        }

    return judge


def named(step: Step) -> str:
    return f"{step.name}.onnx"


def verdicts(fallback: Search) -> list[str]:
    return [attempt.verdict for attempt in fallback.attempts]


def test_stops_at_the_first_step_that_passes() -> None:
    fallback = search("fp16", STEPS, named, judged({"as built": "fail", "extra outputs": "pass"}))
    assert verdicts(fallback) == ["fail", "pass"]
    assert fallback.reached == STEPS[1]
    assert json.loads(json.dumps(fallback.to_json())) == {
        "asked": "fp16",
        "attempts": [
            {"step": "as built", "engine": "as built" * 3, "verdict": "fail", "reasons": ["so it is"]},
            {"step": "extra outputs", "engine": "extra outputs" * 3, "verdict": "pass", "reasons": []},
        ],
        "reached": "extra outputs",
    }


def test_an_inconclusive_verdict_is_no_parity() -> None:
    found = dict.fromkeys((step.name for step in STEPS), "inconclusive")
    fallback = search("int8", graph_steps(), named, judged(found))
    assert verdicts(fallback) == ["inconclusive"] * 4
    assert fallback.reached is None
    assert outcome(fallback) == "no step of int8 is on a par with its reference: the bundle holds no int8 graph"


def test_a_broken_engine_is_an_attempt_and_an_unchanged_one_is_not_verified() -> None:
    def build(step: Step) -> str | Unchanged:
        if step.name == "as built":
            raise FidelityError("is nan")
        return Unchanged("the same") if step.further == ("attention scores",) else named(step)

    fallback = search("fp16", graph_steps(), build, judged({"fp32 last blocks": "fail", "all fp32": "pass"}))
    assert [(attempt.verdict, attempt.reasons) for attempt in fallback.attempts] == [
        ("fail", ("is nan",)),
        ("skipped", ("the same",)),
        ("fail", ("so it is",)),
        ("pass", ()),
    ]
    assert "fp16 was not reached: what passes is the fp32 graph" in search_text(fallback)


def test_an_engine_that_cannot_be_built_ends_the_search() -> None:
    def build(step: Step) -> str:
        raise ExportError("cannot be traced")

    with pytest.raises(ExportError, match="cannot be traced"):
        search("fp16", STEPS, build, judged({}))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """bindlite's motion encoder as it is; of a small radius, at which it withstands most attacks."""
    layers: Sequence[Layer] = [
        Layer("test", {"modality": "imu", "out": str(tmp_path_factory.mktemp("plain") / "B")}),
        Layer("test", {"adapter": {"kind": "identity"}, "threat": {"eps": 0.25 / 255}, "train": {"samples": 64}}),
        Layer("test", {"evaluate": {"samples": 8, "steps": 2, "queries": 5}}),
    ]
    return calibrate(resolve(CalibrateConfig, layers)).bundle


def overflow(plain: Bundle, target: Path, encoder: overflowing.Overflowing) -> Path:
    """The bundle as if another encoder, whose code may run, had been calibrated with the same adapter."""
    shutil.copytree(plain.path, target)
    section = {**plain.section("encoder"), "name": encoder.name, "weights_sha256": encoder.fingerprint}
    bundle = Bundle.open(target).add({}, encoder=section)
    trust(bundle)
    probe = bundle.probe()
    with torch.no_grad():
        z = module_from_bundle(bundle)(torch.from_numpy(probe.x)).numpy()
    right = bundle.centers().predict(z) == probe.y
    trust(bundle.add({ANCHOR: anchor_bytes(z)}, metrics=metrics(bundle.threat, right)))
    return target


def reached_parity(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """The document of a search that ends with a pass, its report checked by everything that reads reports."""
    assert main(["export", str(path), *UNTIL_PARITY, *options, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    (report,) = (json.loads(file.read_text()) for file in path.glob("reports/*/report.json"))
    (fallback,) = document["searches"]
    assert report["derived"]["fallback"] == fallback
    assert report["derived"]["verdict"] == "pass"
    assert report["measured"]["engine"]["step"] == fallback["reached"]
    assert list(Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(report)) == []
    told = {
        entry.key: entry.value for entry in onnx.load(str(path / report["measured"]["engine"]["path"])).metadata_props
    }
    assert told["advcal_edge.step"] == fallback["reached"]
    assert f"({report['measured']['engine']['precision']}, {fallback['reached']})" in verification_table(report)
    assert main(["verify", "--margin", "0.06", "--check", *map(str, path.glob("reports/*/report.json"))]) == 0
    capsys.readouterr()
    assert not [file for file in path.iterdir() if file.name.startswith(".")]
    assert fallback["attempts"][0]["engine"] is None
    assert "relative_l2 is nan" in fallback["attempts"][0]["reasons"][0]
    return document


def test_without_a_search_an_overflow_is_refused_and_the_search_named(
    plain: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime on a CPU computes this graph without an overflow; a GPU would not."""
    target = overflow(plain, tmp_path / "B", overflowing.attention("imu"))
    assert main(["export", str(target), "--precision", "fp16", "--no-gradient"]) == 2
    err = capsys.readouterr().err
    assert "relative_l2 is nan" in err
    assert "--until-parity" in err
    assert not Bundle.open(target).has(FP16)


@pytest.mark.slow
def test_attention_that_overflows_is_mended_by_fp32_attention(
    plain: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = reached_parity(overflow(plain, tmp_path / "B", overflowing.attention("imu")), capsys)
    (fallback,) = document["searches"]
    assert [attempt["verdict"] for attempt in fallback["attempts"]] == ["fail", "pass"]
    assert fallback["reached"] == "fp32 attention"
    assert [graph["path"] for graph in document["graphs"]] == ["onnx/vjp.fp32.onnx", FP16]
    assert document["graphs"][1]["fidelity"]["emulated"] is True
    assert Bundle.open(tmp_path / "B").section("graphs")["files"][FP16]["step"] == "fp32 attention"


@pytest.mark.slow
def test_a_last_block_that_overflows_is_mended_by_fp32_last_blocks(
    plain: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = reached_parity(overflow(plain, tmp_path / "B", overflowing.last_block("imu")), capsys)
    (fallback,) = document["searches"]
    assert [attempt["verdict"] for attempt in fallback["attempts"]] == ["fail", "fail", "pass"]
    assert fallback["reached"] == "fp32 last blocks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "precision", "module"),
    [(overflowing.attention, "fp16", "blocks.1.attention"), (overflowing.outlier, "int8", "blocks.1.fc2")],
)
def test_a_search_among_nodes_names_the_one_that_breaks(
    plain: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    encoder: Callable[[str], overflowing.Overflowing],
    precision: str,
    module: str,
) -> None:
    target = overflow(plain, tmp_path / "B", encoder("imu"))
    options = [*UNTIL_PARITY, "--precision", precision, "--search", "nodes"]
    assert main(["export", str(target), *options]) == 0
    out = capsys.readouterr().out
    (row,) = (line for line in out.splitlines() if line.startswith("node_") and line.endswith("fp32"))
    flips = re.search(r"(\d+) of (\d+) flips  100 %", row)
    assert flips is not None
    assert row.split()[2].endswith(module)
    assert f"{precision} passes with 1 of" in out
    culprit, path = row.split()[0], f"onnx/forward.{precision}.onnx"
    entry = Bundle.open(target).section("graphs")["files"][path]
    assert (entry["step"], entry["kept"]) == ("nodes:1", [culprit])
    few = ["--samples", "64", "--margin", "0.06", "--rebuilds", "1", "--json"]
    assert main(["verify", str(target), "--engine", precision, *few]) == 0
    (engine,) = json.loads(capsys.readouterr().out)["engines"]
    assert engine["derived"]["rebuilds"]["distinct"] == 1  # built again from the nodes in the manifest: the same bytes


@pytest.mark.slow
def test_a_chain_that_overflows_together_is_found_although_no_single_product_mends_it(
    plain: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = overflow(plain, tmp_path / "B", overflowing.last_block("imu"))
    assert main(["export", str(target), *UNTIL_PARITY, "--search", "nodes", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["searches"]
    assert [attempt["step"] for attempt in found["attempts"]] == [
        "as built",
        "nodes:1",
        "nodes:2",
        "nodes:4",
        "nodes:3",
    ]
    assert [attempt["verdict"] for attempt in found["attempts"]] == ["fail", "fail", "fail", "pass", "pass"]
    assert found["reached"] == "nodes:3"
    scopes = [node["scope"].removeprefix("trunk.blocks.1.") for node in found["ranking"]["nodes"][:3]]
    assert sorted(scopes) == ["attention", "attention.proj", "attention.qkv"]
    assert [node["removed"] for node in found["ranking"]["nodes"][:3]] == [0, 0, 0]
    report = json.loads((target / "reports" / found["attempts"][-1]["engine"][:8] / "report.json").read_text())
    assert report["derived"]["fallback"]["reached"] == "nodes:3"
    assert list(Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(report)) == []


@pytest.mark.slow
def test_where_nothing_passes_no_graph_of_that_precision_stays(
    exported: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight samples decide nothing: every step is inconclusive, up to fp32 itself."""
    shutil.copytree(exported.path, tmp_path / "B")
    options = ["--precision", "fp16", "--no-gradient", "--until-parity", "--samples", "8"]
    assert main(["export", str(tmp_path / "B"), *options]) == 1
    out = capsys.readouterr().out
    rows = re.findall(r"^(as built|fp32 attention|fp32 last blocks|all fp32) +([0-9a-f]{8})  (\w+)$", out, re.MULTILINE)
    assert [row[2] for row in rows] == ["INCONCLUSIVE"] * 4
    assert len({row[1] for row in rows}) == 4
    assert "no step of fp16 is on a par with its reference: the bundle holds no fp16 graph" in out
    bundle = Bundle.open(tmp_path / "B")
    assert not bundle.has(FP16)
    assert FP16 not in bundle.section("graphs")["files"]
    assert not (bundle.path / FP16).exists()
    assert bundle.has("onnx/forward.int8.onnx")
    for row in rows[1:]:
        attempts = json.loads((bundle.path / "reports" / row[1] / "report.json").read_text())["derived"]["fallback"][
            "attempts"
        ]
        assert [attempt["engine"][:8] for attempt in attempts] == [found[1] for found in rows[: len(attempts)]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--precision", "fp32"], "fp32 has nothing to give back"),
        (["--precision", "bf16"], "bf16 needs a GPU"),
        (["--precision", "fp8", "--opset", "18"], "`--precision fp8` and `--opset 18` exclude each other"),
        (["--precision", "fp16", "--attacks", "quik"], "did you mean `quick`?"),
        (["--precision", "fp61"], "did you mean `fp16`?"),
        (["--precision", "fp16", "--search", "nods"], "did you mean `nodes`?"),
        (["--precision", "fp16", "--search", "nodes", "--trt"], "`--search nodes` and `--trt` exclude each other"),
    ],
)
def test_a_search_that_cannot_be_made_is_2_before_any_work(
    plain: Bundle, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (plain.path / "manifest.json").read_bytes()
    assert main(["export", str(plain.path), "--until-parity", *options]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert (plain.path / "manifest.json").read_bytes() == before
    assert not (plain.path / "onnx").exists()
