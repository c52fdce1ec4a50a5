"""Retrieval and top-5 in a verification: an engine may keep every label and still lose what else it knew."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from paired import N, Toy
from runs import Reports, failed
from saboteurs import overflowing, shuffled_details

from advcal_edge.attacks import AttackedModel
from advcal_edge.errors import InputError
from advcal_edge.probe import Probe
from advcal_edge.report.html import render_html
from advcal_edge.report.text import verification_table


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy.make(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def reports(toy: Toy) -> Reports:
    engine = toy.attacked()
    return toy.verify(
        honest=engine,
        details=toy.attacked(shuffled_details),
        overflowing=toy.attacked(overflowing),  # every sample is brighter than its threshold
        blind=AttackedModel(engine.runner, engine.centers),
    )


@pytest.fixture(scope="module")
def honest(reports: Reports) -> dict[str, Any]:
    return reports["honest"]


def shares(report: dict[str, Any], state: str, side: str) -> dict[str, float]:
    """recall@k by k, from sample to partner."""
    return {k: found["accuracy"] for k, found in report["derived"]["retrieval"][state][side]["forward"].items()}


def test_an_honest_engine_passes_and_attacks_cost_recall(honest: dict[str, Any]) -> None:
    assert honest["derived"]["verdict"] == "pass", honest["derived"]["reasons"]
    deciding = [item["name"] for item in honest["derived"]["comparisons"] if item["decides"]]
    assert deciding == ["clean", "worst case", "recall@10 clean", "recall@10 attacked"]
    assert honest["derived"]["retrieval"]["gallery"] == N
    assert [item["crafted_on"] for item in honest["derived"]["retrieval"]["attacks"]] == ["reference", "engine"]
    for side in ("reference", "engine"):
        clean, attacked = shares(honest, "clean", side), shares(honest, "attacked", side)
        assert clean["recall@1"] > 0.9
        assert 0.1 < attacked["recall@1"] < clean["recall@1"] - 0.1
        assert attacked["recall@1"] < attacked["recall@5"] <= attacked["recall@10"]
    by_name = {item["name"]: item for item in honest["derived"]["comparisons"]}
    assert by_name["recall@10 attacked"]["engine"]["accuracy"] == shares(honest, "attacked", "engine")["recall@10"]


def test_top_five_is_no_lower_than_top_one_and_decides_nothing(honest: dict[str, Any]) -> None:
    by_name = {item["name"]: item for item in honest["derived"]["comparisons"]}
    assert by_name["worst case"]["engine"]["accuracy"] < by_name["clean"]["engine"]["accuracy"]
    for name in ("clean", "worst case"):
        for side in ("reference", "engine"):
            assert honest["derived"]["top5"][name][side]["accuracy"] >= by_name[name][side]["accuracy"]
    assert (
        honest["derived"]["top5"]["worst case"]["engine"]["accuracy"] == 1.0
    )  # the opposite of six corners is never reached
    assert "top5" not in by_name


def test_lost_details_fail_though_no_label_changes(reports: Reports, honest: dict[str, Any]) -> None:
    report = reports["details"]
    of_embeddings = {"agrees_elsewhere", "cosine_floor", "neighbours_kept"}
    assert failed(report) == {"recall@10 clean", "recall@10 attacked", *of_embeddings}
    assert report["derived"]["verdict"] == "fail"
    assert shares(report, "clean", "engine")["recall@1"] < 0.2
    assert report["measured"]["clean"]["engine"] == honest["measured"]["clean"]["engine"]
    assert any(reason.startswith("recall@10 clean") for reason in report["derived"]["reasons"])


def test_an_engine_of_nan_finds_no_partner(reports: Reports) -> None:
    report = reports["overflowing"]
    assert {"unit_norm", "clean", "recall@10 clean"} <= failed(report)
    assert set(shares(report, "clean", "engine").values()) == {0.0}
    assert {found["accuracy"] for found in report["derived"]["retrieval"]["clean"]["engine"]["backward"].values()} == {
        0.0
    }
    json.dumps(report, allow_nan=False)
    assert "Ranking" in render_html(report)


def test_without_a_gradient_graph_transferred_inputs_remain(reports: Reports) -> None:
    report = reports["blind"]
    assert [item["crafted_on"] for item in report["derived"]["retrieval"]["attacks"]] == ["reference"]
    assert shares(report, "attacked", "engine")["recall@1"] < shares(report, "clean", "engine")["recall@1"]


def test_without_partners_and_with_few_labels_nothing_is_added(toy: Toy) -> None:
    few = replace(toy, centers=toy.centers.subset(tuple("abcde")))
    known = toy.probe.y < 5
    few = replace(few, probe=Probe(toy.probe.x[known], toy.probe.y[known]))
    report = few.verify(honest=few.attacked())["honest"]
    assert not {"retrieval", "top5"} & report["derived"].keys()
    assert [item["name"] for item in report["derived"]["comparisons"]][-1] == "worst case"
    assert "recall" not in verification_table(report)
    assert "Ranking" not in render_html(report)


@pytest.mark.parametrize("shape", [(N - 1, 6), (N, 5)])
def test_partners_must_fit_the_samples(toy: Toy, shape: tuple[int, int]) -> None:
    partner = np.eye(*shape, dtype=np.float32)
    partner[:, 0] = 1
    with pytest.raises(InputError, match="partners"):
        replace(toy, probe=replace(toy.probe, partner=partner)).verify(honest=toy.attacked())


def test_one_report_shows_recall_and_top_five_in_both_renderings(honest: dict[str, Any]) -> None:
    text = verification_table(honest)
    for words in ("top-5 of 6 labels", "recall@1 to partner", "recall@10 from partner"):
        assert words in text
        assert words in render_html(honest)
    assert "recall@10 attacked" in text
