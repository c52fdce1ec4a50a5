"""`verify --sequential`: it stops when the samples decide, may be extended, and its report holds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paired import BUDGET, INFO, THREAT, Toy
from runs import HASHES
from tiny import Linear, write_bundle

from advcal_edge import VerifyOptions, verify
from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import ConfigError
from advcal_edge.probe import Probe
from advcal_edge.runtime import Embedder
from advcal_edge.spec import image
from advcal_edge.verify import HeldOut, ModelSet, Shard, State, Verification
from advcal_edge.verify.outcome import collect
from advcal_edge.verify.run import Watch, verify_shard
from advcal_edge.verify.standing import Standing

SEQUENTIAL = VerifyOptions(engine="fp16", reference="onnx", sequential=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    linear = Linear.random(image(4))
    return write_bundle(folder / "B", linear, ("fp32", "fp16"), {}, samples=400, gradient=True).path


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "B"))


def read(report: Any) -> dict[str, Any]:
    document: dict[str, Any] = report.to_json()
    return document


def test_it_stops_after_the_block_that_decides_and_counts_as_verified(bundle: Path) -> None:
    seen: list[Standing] = []
    (report,) = verify(bundle, SEQUENTIAL, watch=Watch(stand=lambda standings: seen.append(standings[0])))
    document = read(report)
    assert report.verdict == "pass"
    assert document["derived"]["samples"] == 320  # 272 without a flip decide, and the block ends at 320
    assert document["derived"]["sequential"]["decided"] == 272
    assert document["measured"]["sequential"] == {"every": 16, "at_most": 400}
    assert len(seen) == 6
    assert seen[-1].verdict == "pass"
    assert "320 samples, 0 lost, 0 gained, evidence" in str(seen[-1])
    assert Embedder.load(bundle, engine="fp16", require_verified=True).verified
    assert not bundle.with_name("B.verify").exists()
    (path,) = bundle.glob("reports/*/report.json")
    assert main(["verify", "--check", str(path)]) == 0
    document["derived"]["sequential"]["paths"]["worst case"]["passing"][3] += 0.5  # evidence that no sample gave
    elsewhere = bundle.parent / "report.json"
    elsewhere.write_text(json.dumps(document))
    assert main(["verify", str(bundle), "--check", str(elsewhere)]) == 1


def test_an_extended_run_is_one_that_was_never_stopped(bundle: Path, made: Path, tmp_path: Path) -> None:
    (first,) = verify(bundle, replace(SEQUENTIAL, samples=100))
    assert first.verdict == "inconclusive"
    seen: list[tuple[str, int, int]] = []
    watch = Watch(lambda stage, done, total: seen.append((stage, done, total)))
    (extended,) = verify(bundle, SEQUENTIAL, watch=watch)
    assert min(done / total for stage, done, total in seen if stage == "attack") > 1 / 7  # the first block was kept
    other = Path(shutil.copytree(made, tmp_path / "other"))
    (whole,) = verify(other, SEQUENTIAL)
    one, two = read(extended), read(whole)
    (run,) = one["measured"].pop("history")
    assert (run["samples"], run["verdict"], run["sequential"]) == (100, "inconclusive", True)
    assert one["derived"].pop("history")["number"] == 1
    for document in (one, two):
        del document["measured"]["seconds"]
    assert one == two
    assert not bundle.with_name("B.verify").exists()


def test_a_shorter_look_after_a_longer_one_is_possible_too(bundle: Path) -> None:
    verify(bundle, replace(SEQUENTIAL, samples=200))
    (report,) = verify(bundle, replace(SEQUENTIAL, samples=70))
    assert report.derived["samples"] == 70


def test_a_broken_engine_fails_as_soon_as_it_can(bundle: Path) -> None:
    """Its embeddings point the other way, so that every sample is lost."""
    backwards = Linear(image(4), -Linear.random(image(4)).weights)
    elsewhere = bundle.parent / "other.onnx"
    elsewhere.write_bytes(backwards.forward())
    (report,) = verify(bundle, replace(SEQUENTIAL, engine=str(elsewhere)))
    looks = report.derived["sequential"]
    assert report.verdict == "fail"
    assert report.derived["samples"] == 64
    assert looks["paths"]["clean"]["verdict"] == "fail"
    assert looks["decided"] <= 32


def test_reruns_leave_a_trace_and_the_same_again_does_not(bundle: Path) -> None:
    fixed = VerifyOptions(engine="fp16", reference="onnx", samples=40)
    (first,) = verify(bundle, fixed)
    (again,) = verify(bundle, fixed)
    assert "history" not in again.measured
    (more,) = verify(bundle, replace(fixed, samples=60))
    (most,) = verify(bundle, replace(fixed, samples=200))
    numbers = [report.derived["history"]["number"] for report in (more, most)]
    assert numbers == [2, 3]
    assert [run["samples"] for run in most.measured["history"]] == [40, 60]
    assert most.verdict == "inconclusive"  # 200 without a flip pass at the first try alone
    assert most.derived["comparisons"][-1]["interval"][1] > 0.02
    (path,) = bundle.glob("reports/*/report.json")
    assert main(["verify", "--check", str(path)]) == 0
    document = json.loads(path.read_text())
    document["measured"]["history"] = document["measured"]["history"][:1]  # as if it had been tried once less
    elsewhere = bundle.parent / "report.json"
    elsewhere.write_text(json.dumps(document))
    assert main(["verify", str(bundle), "--check", str(elsewhere)]) == 1
    assert first.verdict == "inconclusive"


def test_a_damaged_earlier_report_is_replaced(bundle: Path) -> None:
    fixed = VerifyOptions(engine="fp16", reference="onnx", samples=40)
    verify(bundle, fixed)
    (path,) = bundle.glob("reports/*/report.json")
    path.write_text("{}")
    (report,) = verify(bundle, replace(fixed, samples=60))
    assert "history" not in report.measured


def test_shards_cannot_be_sequential(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        verify_shard(bundle, Shard(1, 2), SEQUENTIAL)
    assert main(["verify", str(bundle), "--sequential", "--shard", "1/2"]) == 2
    assert "`--shard` and `--sequential` exclude each other" in capsys.readouterr().err
    verify(bundle, replace(SEQUENTIAL, samples=40))
    assert main(["verify", str(bundle), "--merge"]) == 2
    assert "is sequential and has no shards" in capsys.readouterr().err


def test_the_command_line_shows_how_to_go_on(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["verify", str(bundle), "--engine", "fp16", "--reference", "onnx", "--samples", "100"]
    assert main(few) == 1
    told = capsys.readouterr().err
    assert "counts as another try" in told
    assert "--engine fp16 --sequential --samples 200" in told
    assert main([*few, "--sequential"]) == 1
    captured = capsys.readouterr()
    assert "goes on from there" in captured.err
    assert "looks     open after 100 samples" in captured.out
    assert "earlier   100 samples inconclusive: this is try 2" in captured.out


def test_partners_are_ranked_in_the_gallery_of_all(tmp_path: Path) -> None:
    """So the outcome of a sample does not depend on where a run stops."""
    toy = Toy.make(tmp_path)
    models = ModelSet(replace(toy.attacked(), info={"kind": "onnx"}), {"fp32": replace(toy.attacked(), info=INFO)})
    half = Probe(toy.probe.x[:100], toy.probe.y[:100])
    some = replace(HeldOut.of(half, THREAT, seed=0), partner=toy.probe.partner)
    reports = []
    for held_out in (some, HeldOut.of(toy.probe, THREAT, seed=0)):
        with State.temporary() as state:
            run = Verification(models, toy.linear.modality, held_out, BUDGET, 0.05, state, sequential=True)
            run.run()
            reports.append(collect(run, "fp32", context={}, hashes=HASHES).to_json())
    short, long = reports
    seen = short["derived"]["samples"]
    assert seen <= 100
    assert short["measured"]["retrieval"]["gallery"] == 200
    assert short["derived"]["retrieval"]["gallery"] == 200
    for side in ("reference", "engine"):
        ranks = [report["measured"]["retrieval"]["clean"][side]["forward"] for report in reports]
        assert ranks[0] == ranks[1][:seen]
    assert set(long["derived"]["sequential"]["paths"]) == {
        "clean",
        "worst case",
        "recall@10 clean",
        "recall@10 attacked",
    }


def test_samples_of_a_bundle_are_the_first_of_the_probe(bundle: Path) -> None:
    (report,) = verify(bundle, SEQUENTIAL)
    truth = Bundle.open(bundle).probe().y
    assert report.measured["truth"] == truth[:320].tolist()
