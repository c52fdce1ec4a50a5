"""A report is checked against its bundle and against itself; whatever is changed in it afterwards shows."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sample_report import document, measure, ranked, with_builds, with_fallback
from tiny import DIM, BundleMaker, Linear, bound, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.cli import main
from advcal_edge.errors import BundleError
from advcal_edge.report.text import render_findings
from advcal_edge.runtime.engine import listed_digest
from advcal_edge.runtime.engine_file import graph_digest
from advcal_edge.spec import thermal
from advcal_edge.storage import canonical, sha256_file
from advcal_edge.verify.audit import audit
from advcal_edge.verify.findings import Finding
from advcal_edge.verify.outcome import hashes

N = 12  # samples of the tiny bundle
ENGINE, BACKWARD = "onnx/forward.int8.onnx", "onnx/vjp.fp32.onnx"
LABELS = ("car", "cat", "cup", "person", "dog", "tree")
STEP = "fp32 last blocks"


def states(findings: list[Finding]) -> dict[str, str]:
    """Everything that is not ok, by place."""
    return {item.where: item.status for item in findings if item.status != "ok"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with a backward graph, labels enough for top-5, and an int8 graph of a step."""
    linear, vectors = Linear.random(thermal(8)), np.eye(DIM, dtype=np.float32)
    made = write_bundle(tmp_path_factory.mktemp("audit") / "B", linear, ("fp32", "int8"), {})
    graphs = made.section("graphs")
    files = {**graphs["files"], ENGINE: {**graphs["files"][ENGINE], "step": STEP}}
    content = {BACKWARD: linear.vjp(), "centers.safetensors": Centers(LABELS, vectors, 0.1, "test").to_bytes()}
    return made.add(content, graphs={**graphs, "files": files})


def measured_on(bundle: Bundle, **parts: bool) -> dict[str, Any]:
    """Measurements on the twelve samples of a tiny bundle."""
    return bound(measure(N, lost=0.2, gained=0.1, margin=0.6, labels=bundle.centers().labels, **parts), bundle)


@pytest.fixture(scope="module")
def report(bundle: Bundle) -> dict[str, Any]:
    """Flips, partners, builds and a precision fallback."""
    found = with_fallback(measured_on(bundle, partners=True), STEP)
    return document(with_builds(found, (0.1, 0.3)))


def leaves(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], object]]:
    """Every value that is no container, with its place."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def changed(value: object) -> object:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 + 0.01
    if isinstance(value, str):
        flipped = {"0": "1", "1": "0", "pass": "fail", "fail": "pass"}
        if set(value) <= {"0", "1"}:
            return flipped[value[0]] + value[1:] if value else "0"
        return flipped.get(value, f"{'1' if value[:1] == '0' else '0'}{value[1:]}")
    return "something"


def put(report: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    """A copy with one value replaced."""
    found = copy.deepcopy(report)
    place: Any = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


def notices(report: dict[str, Any], bundle: Bundle) -> bool:
    """Whether anything is found, or the document refused in words."""
    try:
        return bool(states(audit(report, bundle)))
    except BundleError:
        return True


def test_an_honest_report_is_ok_throughout(report: dict[str, Any], bundle: Bundle) -> None:
    findings = audit(report, bundle)
    assert states(findings) == {}
    assert len(findings) > 25
    assert json.loads(json.dumps([item.to_json() for item in findings], allow_nan=False))
    assert render_findings(findings).endswith(f"{len(findings)} ok, 0 wrong, 0 unchecked")


TIED = re.compile(
    r"measured\.(engine\.(path|listed|precision|step|sha256|bytes)|hashes\.\w+|threat\.(norm|bounds\.\d)|context\..*"
    r"|environment\..*|labels\.\d+|truth\.\d+|margin|gallery\.\d+\.truth|rebuilds\.builds\.\d+|fallback\.asked"
    r"|budget\.(pgd_steps|apgd_steps|apgd_restarts|losses\.\d|difference_steps|square_queries|label_queries))"
)
"""What a bundle, or another part of the measurements, confirms."""


def test_every_derived_and_every_tied_value_is_noticed_when_it_is_changed(
    report: dict[str, Any], bundle: Bundle
) -> None:
    seen = 0
    for number, (path, value) in enumerate(leaves(report)):
        name = ".".join(map(str, path))
        if (path[0] == "derived" and number % 8 == 0) or TIED.fullmatch(name):
            seen += 1
            assert notices(put(report, path, changed(value)), bundle), name
    assert seen > 150


@settings(max_examples=50)
@given(st.data())
def test_any_other_derived_number_is_noticed(report: dict[str, Any], bundle: Bundle, data: st.DataObject) -> None:
    numbers = [(path, value) for path, value in leaves(report["derived"]) if isinstance(value, (int, float))]
    path, value = data.draw(st.sampled_from(numbers))
    other = data.draw(st.integers(-3, 20) if isinstance(value, int) else st.floats(-2, 2))
    same = not isinstance(value, bool) and math.isclose(other, float(value), rel_tol=1e-6, abs_tol=1e-6)
    assert notices(put(report, ("derived", *path), other), bundle) or same, (path, other)


@settings(max_examples=30)
@given(st.data())
def test_any_outcome_that_turns_is_noticed(report: dict[str, Any], bundle: Bundle, data: st.DataObject) -> None:
    """A rank that crosses zero changes a count of its route, or of the clean comparison."""
    routes = [("attacks", k, "ranks") for k in range(len(report["measured"]["attacks"]))]
    path = (*data.draw(st.sampled_from([("clean",), *routes])), data.draw(st.sampled_from(["reference", "engine"])))
    at = data.draw(st.integers(0, N - 1))
    place: Any = report["measured"]
    for key in path:
        place = place[key]
    turned = [*place[:at], 0 if place[at] else 1, *place[at + 1 :]]
    assert notices(put(report, ("measured", *path), turned), bundle)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**4000)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["0" * N, "1" * 3, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200)
@given(st.data())
def test_whatever_stands_anywhere_is_a_finding_or_refused_in_words(
    report: dict[str, Any], bundle: Bundle, data: st.DataObject
) -> None:
    path, _ = data.draw(st.sampled_from(list(leaves(report))))
    path = path[: data.draw(st.integers(1, len(path)))]
    tampered = put(report, path, data.draw(JSON))
    with contextlib.suppress(BundleError):
        findings = audit(tampered, bundle)
        assert json.dumps([item.to_json() for item in findings])
        assert max(map(len, render_findings(findings).splitlines())) <= 100


FREE = re.compile(
    r"measured\.(context\..*|gallery\.\d+|fallback|engine\.\w+|reference\.\w+|sources\.\d+\.\w+|seed|expectation|seconds)"
)
"""What may be missing: repetitions, pictures, what was not asked for, and what only a reader shows."""


def test_whatever_is_missing_is_noticed(report: dict[str, Any], bundle: Bundle) -> None:
    paths = {path[:cut] for path, _ in leaves(report) for cut in range(1, min(len(path), 3) + 1)}
    paths = {path for path in paths if not (len(path) == 3 and isinstance(path[2], int) and path[2])}
    assert len(paths) > 100
    for path in paths:
        found = copy.deepcopy(report)
        place: Any = found
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        name = ".".join(map(str, path))
        assert notices(found, bundle) or FREE.fullmatch(name), name


def test_empty_and_foreign_documents_are_refused_in_words(bundle: Bundle, report: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="lacks `schema`"):
        audit({}, bundle)
    with pytest.raises(BundleError, match="schema `advcal-edge/report/1`"):
        audit({"schema": "advcal-edge/report/1"}, bundle)
    with pytest.raises(BundleError, match=r"`measured\.attacks` is 3; expected a list"):
        audit(put(report, ("measured", "attacks"), 3), bundle)
    with pytest.raises(BundleError, match=r"`measured\.attacks\[0\]\.attacked` has 3 characters; expected 12"):
        audit(put(report, ("measured", "attacks", 0, "attacked"), "101"), bundle)
    with pytest.raises(BundleError, match="a number of 16610 bits; expected a finite number"):
        audit(put(report, ("measured", "margin"), 10**5000), bundle)


def test_a_file_that_was_replaced_since_is_found(make_bundle: BundleMaker) -> None:
    linear = Linear.random(thermal(8))
    bundle = make_bundle(linear, ("int8",)).add({BACKWARD: linear.vjp()})
    report = document(measured_on(bundle))
    assert states(audit(report, bundle)) == {}
    for name, wrong in (
        (ENGINE, {"measured.engine.sha256", "measured.engine.census"}),
        (BACKWARD, {"measured.hashes.gradient"}),
        ("centers.safetensors", {"measured.hashes.centers", "measured.truth"}),
        ("probe.npz", {"measured.hashes.data", "measured.truth"}),
    ):
        content = (bundle.path / name).read_bytes()
        (bundle.path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert states(audit(report, bundle)).keys() == wrong
        (bundle.path / name).write_bytes(content)
    again = bundle.add({"onnx/forward.fp32.onnx": linear.forward()})
    explained = {"measured.engine.census.against", "measured.engine.census.sha256"}
    assert states(audit(report, again)).keys() == explained  # another export leaves what was calibrated as it was
    later = bundle.add({"adapter.safetensors": b"another calibration"})
    assert states(audit(report, later)).keys() == {"measured.hashes.bundle", *explained}


def test_weights_beside_a_graph_are_part_of_its_hash(make_bundle: BundleMaker) -> None:
    linear = Linear.random(thermal(8))
    bundle = make_bundle(linear, ("int8",)).add({BACKWARD: linear.vjp(), f"{ENGINE}.data": b"weights"})
    report = document(measured_on(bundle))
    assert report["measured"]["engine"]["sha256"] != bundle.manifest["files"][ENGINE]["sha256"]
    assert states(audit(report, bundle)) == {}
    assert states(audit(report, bundle, bundle.path / ENGINE)) == {}
    (bundle.path / f"{ENGINE}.data").write_bytes(b"weighty")
    assert "measured.engine.sha256" in states(audit(report, bundle))


def test_weights_beside_the_gradient_are_part_of_its_hash(make_bundle: BundleMaker) -> None:
    linear = Linear.random(thermal(8))
    bundle = make_bundle(linear, ("int8",)).add({BACKWARD: linear.vjp(), f"{BACKWARD}.data": b"weights"})
    stated = hashes(bundle, {"sha256": listed_digest(bundle, ENGINE)})["gradient"]
    assert stated == graph_digest(bundle.path / BACKWARD) != bundle.manifest["files"][BACKWARD]["sha256"]
    report = put(document(measured_on(bundle)), ("measured", "hashes", "gradient"), stated)
    assert "measured.hashes.gradient" not in states(audit(report, bundle))


def test_reports_do_not_change_what_a_report_is_about(make_bundle: BundleMaker) -> None:
    linear = Linear.random(thermal(8))
    bundle = make_bundle(linear, ("int8",)).add({BACKWARD: linear.vjp()})
    report = document(measured_on(bundle))
    later = bundle.add({"reports/x/report.json": canonical(report)})
    assert states(audit(report, later)) == {}


def test_an_engine_outside_the_bundle_needs_its_file(bundle: Bundle, tmp_path: Path) -> None:
    engine = tmp_path / "board.plan"
    engine.write_bytes(b"plan")
    found = measured_on(bundle)
    found["engine"] |= {"path": engine.name, "listed": False, "sha256": sha256_file(engine), "bytes": 4}
    found["hashes"]["engine"] = found["engine"]["sha256"]
    report = document(found)
    graph = {"measured.hashes.graph"} if found["hashes"]["graph"] != listed_digest(bundle, ENGINE) else set()
    assert states(audit(report, bundle)) == {"measured.engine.sha256": "unchecked"}
    assert states(audit(report, bundle, engine)).keys() == graph
    other = put(report, ("measured", "hashes", "graph"), "ab" * 32)
    assert states(audit(other, bundle, engine)) == {"measured.hashes.graph": "unchecked"}
    engine.write_bytes(b"other")
    assert states(audit(report, bundle, engine)) == {
        "measured.engine.sha256": "wrong",
        "measured.engine.bytes": "wrong",
    }
    with pytest.raises(BundleError, match="cannot read the engine"):
        audit(report, bundle, tmp_path / "none")


def test_the_radius_is_one_of_the_curves(bundle: Bundle) -> None:
    found = measured_on(bundle)
    found["engine"]["step"] = STEP
    attacked = {"attack": "PGD(steps=20)", "right": "0" * N}
    larger = at_radius(found, 8 / 255)  # another may have been asked for; it says nothing of the stated figures
    assert states(audit(document(larger), bundle)) == {"measured.calibration.attacked": "wrong"}
    larger["calibration"]["attacked"] = attacked
    assert states(audit(document(larger), bundle)) == {}
    assert "measured.threat.eps" in states(audit(document(put(found, ("threat", "eps"), 3 / 255)), bundle))
    other = put(at_radius(found, 8 / 255), ("threat", "eps"), 4 / 255)  # a radius of both curves, and not theirs
    assert states(audit(document(other), bundle)) == {
        f"measured.curve.{side}.points": "wrong" for side in ("reference", "engine")
    }
    found = measured_on(bundle, seeing=False)
    found["engine"]["step"], found["hashes"]["gradient"] = STEP, None
    assert states(audit(document(found), bundle)) == {}
    found["threat"]["eps"] = 2 / 255
    assert states(audit(document(found), bundle)) == {"measured.threat.eps": "unchecked"}


def at_radius(found: dict[str, Any], eps: float) -> dict[str, Any]:
    """The same measurements at another radius, and curves drawn for it."""
    found = put(found, ("threat", "eps"), eps)
    for side in ("reference", "engine"):
        for point, multiple in zip(found["curve"][side]["points"], (0, 0.25, 0.5, 1, 2, 4, 8), strict=False):
            point["eps"] = multiple * eps
    return found


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("attacks", 0, "attack"), "PGD(steps=3, loss='ce')", "measured.attacks[0].attack"),
        (("attacks",), None, "measured.attacks"),
        (("gallery", 0, "sample"), N, "measured.gallery[0].sample"),
        (("fallback", "asked"), "fp32", "measured.fallback.asked"),
        (("fallback", "asked"), "fp16", "measured.fallback.asked"),
        (("fallback", "earlier", 0, "step"), STEP, "measured.fallback.earlier"),
    ],
)
def test_contradictions_within_the_measurements_are_noticed(
    bundle: Bundle, report: dict[str, Any], path: tuple[Any, ...], value: object, where: str
) -> None:
    measured = copy.deepcopy(report["measured"])
    tampered = put(measured, path, measured["attacks"][:-1] if value is None else value)
    assert where in states(audit(document(tampered), bundle))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("earlier", 0, "verdict"), "pass"),
        (("earlier", 0, "verdict"), "inconclusive"),
        (("earlier", 0, "reasons"), []),
        (("earlier", 1, "engine"), "ab" * 32),
        (("earlier", 0, "engine"), "ab"),
    ],
)
def test_what_no_fallback_leaves_behind_is_refused(
    bundle: Bundle, report: dict[str, Any], path: tuple[Any, ...], value: object
) -> None:
    with pytest.raises(BundleError, match=r"`measured\.fallback\.earlier\[\d\]\.\w+` is"):
        audit(put(report, ("measured", "fallback", *path), value), bundle)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("kept",), ["node_of_another"], "kept"),
        (("kept",), ["node_MatMul_2", "node_MatMul_2"], "kept"),
        (("kept",), "node_MatMul_2", "kept"),
        (("ranking", "flips"), 65, "ranking.flips"),
        (("ranking", "nodes", 0, "removed"), 10, "ranking.nodes[0].removed"),
        (("ranking", "nodes", 0, "removed"), -1, "ranking.nodes[0].removed"),
        (("ranking", "nodes", 0, "risk"), "much", "ranking.nodes[0].risk"),
        (("ranking", "nodes", 1, "node"), "node_MatMul_2", "ranking.nodes"),
        (("ranking", "nodes", 0, "surprise"), 1, "ranking.nodes[0]"),
        (("ranking",), None, "ranking"),
    ],
)
def test_a_ranking_that_cannot_be_is_refused(bundle: Bundle, path: tuple[Any, ...], value: object, where: str) -> None:
    with pytest.raises(BundleError, match=re.escape(f"`measured.fallback.{where}`")):
        audit(put(ranked(N), ("measured", "fallback", *path), value), bundle)


def test_fp32_may_stand_for_any_precision_that_was_given_up(bundle: Bundle) -> None:
    found = with_fallback(bound(measure(N, lost=0.2, gained=0.1, labels=LABELS), bundle, "onnx/forward.fp32.onnx"))
    found["fallback"]["asked"] = "fp16"
    assert not {where for where in states(audit(document(found), bundle)) if "fallback" in where}


def test_an_earlier_step_is_compared_with_its_report_while_that_is_there(
    bundle: Bundle, report: dict[str, Any]
) -> None:
    sha256 = "ab" * 32
    derived = {"verdict": "fail", "reasons": ["check unit_norm failed"]}
    measured = put(report["measured"], ("fallback", "earlier", 0), {"step": "as built", "engine": sha256, **derived})
    stored = {"measured": {"engine": {"sha256": sha256}}, "derived": derived}
    other = put(measured, ("fallback", "earlier", 0, "reasons"), ["it was raining"])
    assert states(audit(document(other), bundle)) == {}
    name = f"reports/{sha256[:8]}/report.json"
    kept = bundle.add({name: json.dumps(stored).encode()})
    assert states(audit(document(measured), kept)) == {}
    assert states(audit(document(other), kept)) == {"measured.fallback.earlier[0].reasons[0]": "wrong"}
    for damaged in (b"[]", b"{", b'{"measured": []}'):
        assert states(audit(document(other), kept.add({name: damaged}))) == {}
    bundle.remove((name,))


EXAMPLE = json.loads(
    (Path(__file__).parents[2] / "docs" / "example-report" / "report.json").read_text(encoding="utf-8")
)
PLACES = [path[:cut] for path, _ in leaves(EXAMPLE) for cut in range(1, len(path) + 1)]
ODD = st.sampled_from(
    [None, True, -1, 2**53, 2**63, 1e308, 5e-324, "", "1" * 200, "<= 1.2.3", ">= 1e999", [], [[]], {}]
)


@settings(max_examples=75)
@given(st.sampled_from(sorted(set(PLACES), key=str)), ODD | JSON)
def test_a_real_report_with_any_value_replaced_ends_in_findings_or_in_words(
    bundle: Bundle, path: tuple[Any, ...], value: object
) -> None:
    report = bundle.path.with_name("report.json")
    report.write_text(json.dumps(put(EXAMPLE, path, value)), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        assert main(["verify", str(bundle.path), "--check", str(report)]) in (1, 2)
    assert "internal error" not in err.getvalue()
    assert ("error: " in err.getvalue()) is ("hint: " in err.getvalue())


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"a": NaN}', '{"a": 1e999}', "[" * 10**5, '{"a": ' + "9" * 5000 + "}", '{"a": "\\ud800"}', "\xff"],
)
def test_a_file_that_is_no_report(
    text: str, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_bytes(text.encode("latin-1"))
    assert main(["verify", str(bundle.path), "--check", str(tmp_path / "report.json")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: `{tmp_path / 'report.json'}` ")
    assert "hint: verify again" in err


def test_a_report_beyond_the_limit_is_not_read(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "report.json").open("wb") as file:
        file.truncate(2**40)
    assert main(["verify", str(bundle.path), "--check", str(tmp_path / "report.json")]) == 2
    assert "ADVCAL_MAX_REPORT_BYTES=1099511627776" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe")
    assert main(["verify", str(bundle.path), "--check", str(tmp_path / "pipe")]) == 2
    assert "is a pipe; expected a regular file" in capsys.readouterr().err
