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
from sample_counts import EPS, rebuilds
from sample_report import document, paired, passing
from tiny import DIM, BundleMaker, Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.cli import main
from advcal_edge.errors import BundleError
from advcal_edge.report.findings import render_findings
from advcal_edge.spec import thermal
from advcal_edge.storage import canonical, sha256_bytes, sha256_file
from advcal_edge.verify.audit import Finding, audit

N = 12  # samples of the tiny bundle
ENGINE, BACKWARD = "onnx/forward.int8.onnx", "onnx/vjp.fp32.onnx"


def bound(report: dict[str, Any], bundle: Bundle, name: str = ENGINE) -> dict[str, Any]:
    """The report as if it had been made of an engine of this bundle."""
    found, files = copy.deepcopy(report), bundle.manifest["files"]
    labels, y = bundle.centers().labels, bundle.probe().y
    found["engine"] |= {"path": name, "sha256": files[name]["sha256"], "bytes": (bundle.path / name).stat().st_size}
    found["engine"]["precision"] = name.split(".")[1]
    found["hashes"] |= {
        "engine": files[name]["sha256"],
        "graph": files[name]["sha256"],
        "gradient": files[BACKWARD]["sha256"],
        "bundle": bundle.identity(),
        "data": files["probe.npz"]["sha256"],
        "centers": files["centers.safetensors"]["sha256"],
    }
    found["threat"] = bundle.threat.to_json()
    listed = {name: entry["sha256"] for name, entry in files.items()}
    found["context"] = {"labels": list(labels), "hashes": listed, "modality": bundle.manifest["modality"]}
    for item in (*found["flips"], *found["gallery"]):
        item["truth"] = labels[int(y[item["sample"]])]
    for item in found["gallery"]:
        item["after"] = next(label for label in labels if label != item["truth"])
    if "top5" in found:
        found["top5"]["labels"] = len(labels)
    for build in found.get("rebuilds", {"builds": []})["builds"][:1]:
        build["sha256"] = files[name]["sha256"]
    return found


def states(findings: list[Finding]) -> dict[str, str]:
    """Everything that is not ok, by place."""
    return {item.where: item.status for item in findings if item.status != "ok"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with a backward graph, and labels enough for top-5."""
    linear, vectors = Linear.random(thermal(8)), np.eye(DIM, dtype=np.float32)
    made = write_bundle(tmp_path_factory.mktemp("audit") / "B", linear, ("fp32", "int8"), {})
    centers = Centers(("car", "cat", "cup", "person", "dog", "tree"), vectors, 0.1, "test")
    return made.add({BACKWARD: linear.vjp(), "centers.safetensors": centers.to_bytes()})


@pytest.fixture(scope="module")
def report(bundle: Bundle) -> dict[str, Any]:
    """Flips, partners and builds on the twelve samples of the tiny bundle."""
    found = document(N, lost=0.2, gained=0.1, partners=True, margin=0.6)
    hits = next(item for item in found["comparisons"] if item["name"] == "worst case")["engine"]["hits"]
    return bound({**found, "rebuilds": rebuilds(found, [hits - 1, hits + 1])}, bundle)


UNTIED = re.compile(
    r"seconds|seed|expectation"
    r"|engine\.(fingerprint|gradient)|reference\..*|sources\.\d+\.(kind|fingerprint)"
    r"|budget\.(name|pgd_restarts|targets)"
    r"|routes\.\d+\.(attack|queries_mean)"
    r"|curve\.\w+\.(attack|points\.\d+\.eps)"
    r"|checks\.\d+\.(measured|limit|why)"
    r"|drift\.(cosine_min|cosine_mean|(change|margin)\.\d+)"
    r"|retrieval\.attacks\..*"
    r"|rebuilds\.builds\.[1-9]\.(sha256|clean_drop|worst_case_drop)"
    r"|gallery\.\d+\.(sample|before|after|clean|difference|adversarial|wide)"
)
"""Places whose value nothing in the document or the bundle confirms, or confirms only in part."""


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
            return flipped[value[0]] + value[1:]
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
    assert len(findings) > 40
    assert json.loads(json.dumps([item.to_json() for item in findings], allow_nan=False))
    assert render_findings(findings).endswith(f"{len(findings)} ok, 0 wrong, 0 unchecked")


def test_every_tied_value_is_noticed_when_it_is_changed(report: dict[str, Any], bundle: Bundle) -> None:
    tied = untied = 0
    for path, value in leaves(report):
        name = ".".join(map(str, path))
        seen = notices(put(report, path, changed(value)), bundle)
        if UNTIED.fullmatch(name):
            untied += 1
        else:
            tied += 1
            assert seen, name
    assert tied > 800
    assert untied < tied / 4


def tied(report: dict[str, Any]) -> list[tuple[tuple[Any, ...], object]]:
    """Numbers, flags, hashes and verdicts that the audit answers for."""
    return [(path, value) for path, value in leaves(report) if not UNTIED.fullmatch(".".join(map(str, path)))]


@settings(max_examples=150)
@given(st.data())
def test_any_other_number_is_noticed(report: dict[str, Any], bundle: Bundle, data: st.DataObject) -> None:
    numbers = [(path, value) for path, value in tied(report) if isinstance(value, (int, float))]
    path, value = data.draw(st.sampled_from(numbers))
    other = data.draw(st.integers(-3, 20) if isinstance(value, int) else st.floats(-2, 2))
    same = not isinstance(value, bool) and math.isclose(other, float(value), rel_tol=1e-6, abs_tol=1e-6)
    allowed = path == ("threat", "eps") and other in EPS[1:]  # another radius of the curves may have been asked for
    assert notices(put(report, path, other), bundle) or same or allowed, (path, other)


@settings(max_examples=60)
@given(st.data())
def test_any_turned_flag_is_noticed(report: dict[str, Any], bundle: Bundle, data: st.DataObject) -> None:
    texts = [(path, str(value)) for path, value in leaves(report["per_sample"])]
    path, text = data.draw(st.sampled_from(texts))
    at = data.draw(st.integers(0, N - 1))
    turned = f"{text[:at]}{'1' if text[at] == '0' else '0'}{text[at + 1 :]}"
    assert notices(put(report, ("per_sample", *path), turned), bundle)


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


@settings(max_examples=400)
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


FREE = re.compile(r"context\..*|gallery\.\d+|curve\.\w+\.points\.\d+|rebuilds")
"""What may be missing: repetitions, pictures, points of a curve, and what was not asked for."""


def test_whatever_is_missing_is_noticed(report: dict[str, Any], bundle: Bundle) -> None:
    paths = {path[:cut] for path, _ in tied(report) for cut in range(1, min(len(path), 3) + 1)}
    assert len(paths) > 200
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
    with pytest.raises(BundleError, match=r"`routes` is 3; expected a list"):
        audit({**report, "routes": 3}, bundle)
    with pytest.raises(BundleError, match="has 3 characters; expected 12"):
        audit(put(report, ("per_sample", "routes", 0, "attacked"), "101"), bundle)
    with pytest.raises(BundleError, match="a number of 16610 bits; expected a whole number"):
        audit({**report, "samples": 10**5000}, bundle)


def test_a_file_that_was_replaced_since_is_found(make_bundle: BundleMaker) -> None:
    linear = Linear.random(thermal(8))
    bundle = make_bundle(linear, ("int8",)).add({BACKWARD: linear.vjp()})
    report = bound(document(N, lost=0.2, gained=0.1, margin=0.6), bundle)
    assert states(audit(report, bundle)) == {}
    for name, wrong in (
        (ENGINE, {"engine.sha256"}),
        (BACKWARD, {"hashes.gradient"}),
        ("centers.safetensors", {"hashes.centers", "samples"}),
        ("probe.npz", {"hashes.data", "samples"}),
    ):
        content = (bundle.path / name).read_bytes()
        (bundle.path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert states(audit(report, bundle)).keys() == wrong
        (bundle.path / name).write_bytes(content)
    again = bundle.add({"onnx/forward.fp32.onnx": linear.forward()})
    assert states(audit(report, again)) == {"hashes.bundle": "wrong"}
    later = bundle.add({"reports/x/report.json": b"{}"})
    assert states(audit(report, later)).keys() == {"hashes.bundle"}


def test_reports_do_not_change_what_a_report_is_about(make_bundle: BundleMaker) -> None:
    linear = Linear.random(thermal(8))
    bundle = make_bundle(linear, ("int8",)).add({BACKWARD: linear.vjp()})
    report = bound(document(N, lost=0.2, gained=0.1, margin=0.6), bundle)
    later = bundle.add({"reports/x/report.json": canonical(report)})
    assert states(audit(report, later)) == {}


def test_an_engine_outside_the_bundle_needs_its_file(bundle: Bundle, report: dict[str, Any], tmp_path: Path) -> None:
    engine = tmp_path / "board.plan"
    engine.write_bytes(b"plan")
    found = copy.deepcopy(report)
    found["engine"] |= {"path": engine.name, "listed": False, "sha256": sha256_file(engine), "bytes": 4}
    found["hashes"]["engine"] = found["rebuilds"]["builds"][0]["sha256"] = found["engine"]["sha256"]
    assert states(audit(found, bundle)) == {"engine.sha256": "unchecked"}
    assert states(audit(found, bundle, engine)) == {}
    assert states(audit({**found, "hashes": {**found["hashes"], "graph": "ab" * 32}}, bundle, engine)) == {
        "hashes.graph": "unchecked"
    }
    engine.write_bytes(b"other")
    assert states(audit(found, bundle, engine)) == {"engine.sha256": "wrong", "engine.bytes": "wrong"}
    with pytest.raises(BundleError, match="cannot read the engine"):
        audit(found, bundle, tmp_path / "none")


def test_the_radius_is_one_of_the_curves(bundle: Bundle, report: dict[str, Any]) -> None:
    assert states(audit(put(report, ("threat", "eps"), 8 / 255), bundle)) == {}  # another may have been asked for
    assert states(audit(put(report, ("threat", "eps"), 7 / 255), bundle)) == {"threat.eps": "wrong"}
    without = {key: value for key, value in copy.deepcopy(report).items() if key not in ("matrix", "curve")}
    without["engine"]["gradient"] = without["hashes"]["gradient"] = None
    without["threat"]["eps"] = 8 / 255
    assert states(audit(without, bundle)) == {"threat.eps": "unchecked"}


def test_near_ties_may_stand_in_any_order_but_not_twice(bundle: Bundle) -> None:
    report = bound(document(N, lost=0.2, gained=0.1, margin=0.6), bundle)
    report["drift"]["change"][:3], report["drift"]["near_ties"] = [9.0] * 3, 0
    ties = [k for k in range(N) if 2 * report["drift"]["change"][k] >= report["drift"]["margin"][k]]
    report["drift"] |= {"near_ties": len(ties), "near_tie_samples": ties[::-1]}
    number = next(k for k, check in enumerate(report["checks"]) if check["name"] == "drift_within_margin")
    found = states(audit(report, bundle))
    assert not {where for where in found if where.startswith("drift")}
    assert f"checks[{number}].measured" in found  # more ties than the check was counted from
    report["drift"]["near_tie_samples"][-1] = ties[-1]
    assert any(where.startswith("drift.near_tie_samples") for where in states(audit(report, bundle)))


def test_builds_of_different_verdicts_leave_the_verdict_open(bundle: Bundle, report: dict[str, Any]) -> None:
    found = put(report, ("rebuilds", "builds", 1, "verdict"), "fail")
    assert states(audit(found, bundle)).keys() == {"verdict", "reasons"}
    found["verdict"] = "inconclusive"
    found["reasons"] = ["builds of this engine differ in their verdict: pass, fail, pass"]
    assert states(audit(found, bundle)) == {}


def test_a_report_without_a_gradient_has_neither_matrix_nor_curve(bundle: Bundle, report: dict[str, Any]) -> None:
    found = {key: value for key, value in copy.deepcopy(report).items() if key not in ("matrix", "curve")}
    assert states(audit(found, bundle)) == {"matrix": "wrong", "curve": "wrong"}
    found["engine"]["gradient"] = found["hashes"]["gradient"] = None
    assert states(audit(found, bundle)) == {}


def test_the_report_of_a_real_bundle(exported: Bundle) -> None:
    report = bound({**passing(200), "top5": paired(200)["top5"]}, exported)
    report["environment"] = {"python": "3.11"}
    report["hashes"]["environment"] = sha256_bytes(canonical(report["environment"]))
    assert states(audit(report, exported)) == {}
    lines = render_findings(audit(put(report, ("verdict",), "fail"), exported)).splitlines()
    assert lines[-1].endswith(" ok, 1 wrong, 0 unchecked")
    at = lines.index(next(line for line in lines if line.startswith("WRONG")))
    assert [line.split() for line in lines[at : at + 3]] == [
        ["WRONG", "verdict", "verdict"],
        ["found", "fail"],
        ["expected", report["verdict"]],
    ]


EXAMPLE = json.loads(
    (Path(__file__).parents[2] / "docs" / "example-report" / "report.json").read_text(encoding="utf-8")
)
PLACES = [path[:cut] for path, _ in leaves(EXAMPLE) for cut in range(1, len(path) + 1)]
ODD = st.sampled_from(
    [None, True, -1, 2**53, 2**63, 1e308, 5e-324, "", "1" * 200, "<= 1.2.3", ">= 1e999", [], [[]], {}]
)


@settings(max_examples=150)
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
