"""An answer is sure by the rule of a passing report, and by nothing else: neither a forged one nor another engine's."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ruled import ENGINE, measured_on, plain_bundle, put, report_on
from sample_report import document
from tiny import bound

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.verified import find_verified
from advcal_edge.spec import video

Json = dict[str, Any]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return plain_bundle(tmp_path_factory.mktemp("sure") / "B")


def load(bundle: Bundle) -> Embedder:
    return Embedder.load(bundle.path, "fp32")


def test_without_a_report_nothing_is_sure_or_unsure(plain: Bundle) -> None:
    x = plain.probe().x[:4]
    embedder = load(put(plain, document(bound(measured_on(plain), plain, ENGINE))))
    assert embedder.verified
    assert embedder.abstention is None
    assert {match.sure for row in embedder.classify(x) for match in row} == {None}


def test_only_the_best_label_can_be_sure_and_only_above_the_threshold(plain: Bundle) -> None:
    report = report_on(plain)
    embedder, rule = load(put(plain, report)), report["derived"]["abstention"]
    assert embedder.abstention is not None
    assert embedder.abstention.threshold == rule["threshold"]
    assert (embedder.abstention.alpha, embedder.abstention.bound) == (0.05, rule["attacked"]["bound"])
    x = plain.probe().x
    z = embedder(x)
    scores = np.sort(embedder.centers.scores(z.astype(np.float64)) * embedder.centers.temperature, axis=1)
    lead = scores[:, -1] - scores[:, -2]
    found = embedder.match(z)
    assert [row[0].sure for row in found] == (lead > rule["threshold"]).tolist()
    assert {row[0].sure for row in found} == {True, False}
    assert {match.sure for row in found for match in row[1:]} == {False}
    assert embedder.match(z[:0]) == []
    assert not embedder.match(np.full((1, z.shape[1]), np.nan, np.float32))[0][0].sure


def test_where_no_threshold_is_enough_there_is_no_rule(plain: Bundle) -> None:
    embedder = load(put(plain, report_on(plain, doubt=1.0)))
    assert embedder.verified
    assert embedder.abstention is None


def test_a_mean_of_clips_is_not_covered(plain: Bundle) -> None:
    embedder = load(put(plain, report_on(plain)))
    clips = video(8, 4)
    assert clips.number("clips", 1) > 1
    recording = replace(embedder, modality=clips)
    assert recording.rule is None
    assert recording.with_settings({"clips": 1}).rule == embedder.abstention


def lower_threshold(report: Json) -> None:
    report["derived"]["abstention"] |= {"threshold": 0.0, "tried": 0.0}


def claim_one(report: Json) -> None:
    rule = report["derived"]["abstention"]
    rule["threshold"] = rule["tried"]


def forget_a_wrong_answer(report: Json) -> None:
    margins = report["measured"]["answers"]["wrong"]
    margins[next(k for k, value in enumerate(margins) if value is not None)] = None
    report["derived"] = document(report["measured"])["derived"]


def leave_out_the_attacks(report: Json) -> None:
    report["measured"]["answers"]["attacks"] = []
    report["derived"] = document(report["measured"])["derived"]


FORGERIES: Mapping[str, tuple[float, Callable[[Json], None]]] = {
    "a lower threshold": (0.1, lower_threshold),
    "a threshold where none holds": (1.0, claim_one),
    "a wrong answer forgotten": (0.1, forget_a_wrong_answer),
    "no attack on the rule": (0.1, leave_out_the_attacks),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_rule_is_refused_on_the_robot_and_by_the_check(name: str, plain: Bundle, tmp_path: Path) -> None:
    doubt, forge = FORGERIES[name]
    honest = report_on(plain, doubt)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(honest))
    assert main(["verify", str(plain.path), "--check", str(path)]) == 0
    forged = copy.deepcopy(honest)
    forge(forged)
    path.write_text(json.dumps(forged))
    assert main(["verify", str(plain.path), "--check", str(path)]) == 1
    sha256 = plain.manifest["files"][ENGINE]["sha256"]
    assert find_verified(put(plain, forged), sha256) is None
    embedder = load(plain)
    assert not embedder.verified
    assert embedder.abstention is None


def test_embed_shows_what_is_sure(plain: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, rng = put(plain, report_on(plain)), np.random.default_rng(0)
    files = [str(tmp_path / f"{k}.png") for k in range(12)]
    for file in files:
        cv2.imwrite(file, rng.integers(28000, 31000, (12, 10), dtype=np.uint16))
    assert main(["embed", str(bundle.path), *files, "--engine", "fp32"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["file", "label", "score", "sure"]
    assert "sure   where the best label leads by more than" in err
    assert main(["embed", str(bundle.path), *files, "--engine", "fp32", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    sure = [row["matches"][0]["sure"] for row in data["results"]]
    assert [line.split()[-1] for line in lines[1::3]] == [("no", "yes")[flag] for flag in sure]
    assert data["abstention"]["threshold"] == load(bundle).abstention.threshold  # type: ignore[union-attr]
