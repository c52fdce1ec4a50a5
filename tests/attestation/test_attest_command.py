"""`advcal-edge attest`, and how `verify --check`, `embed` and `inspect` see what it writes."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forgery import attestations_of, sign_again, statements_in
from key_files import MakeKey

from advcal_edge import Embedder
from advcal_edge.attestation import PrivateKey
from advcal_edge.attestation.attestations import ROBUSTNESS, TEST_RESULT
from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import BundleChangedError, SignatureError
from advcal_edge.report.checks import RULES
from advcal_edge.storage import sha256_file
from advcal_edge.verify.attest import attest as sign


def attest(bundle: Path, *options: object) -> int:
    return main(["attest", str(bundle), *map(str, options)])


def report_of(bundle: Path, precision: str = "fp16") -> Path:
    digest = sha256_file(bundle / "onnx" / f"forward.{precision}.onnx")
    return bundle / "reports" / digest[:8] / "report.json"


def snapshot(bundle: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


def test_two_statements_per_report_and_a_signature(
    verified: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(verified)
    assert attest(verified, "--key", key) == 0
    captured = capsys.readouterr()
    assert "(fp16)  PASSED" in captured.out
    assert "(fp32)  FAILED" in captured.out
    assert "--public-key KEY.pub.pem" in captured.err
    assert before.items() <= snapshot(verified).items(), "nothing else is changed"
    result, figures = statements_in(attestations_of(verified, "fp16"))
    assert (result.predicate_type, figures.predicate_type) == (TEST_RESULT, ROBUSTNESS)
    check_subjects_are_files(verified, result.subjects)
    assert result.subjects == figures.subjects
    check_test_result(result.predicate, report_of(verified))
    report = json.loads(report_of(verified).read_text())
    said = figures.predicate
    assert datetime.fromisoformat(said["attestedOn"]).utcoffset() == timedelta(0)
    assert said["threat"] == report["measured"]["threat"]
    assert said["budget"] == report["measured"]["budget"]
    assert (said["samples"], said["verdict"]) == (200, "pass")
    assert said["environment"] == report["measured"]["environment"]
    worst = next(item for item in said["comparisons"] if item["name"] == "worst case")
    stated = next(item for item in report["derived"]["comparisons"] if item["name"] == "worst case")
    assert (worst["drop"], worst["interval"]) == (stated["drop"], stated["interval"])
    assert said["checks"] == report["derived"]["checks"]
    stored = report_of(verified).with_name("selftest.npz")
    name = stored.relative_to(verified).as_posix()
    assert said["selftest"] == {"name": name, "digest": {"sha256": sha256_file(stored)}}
    rule = report["derived"]["abstention"]
    assert said["abstention"] == {key: rule[key] for key in ("alpha", "confidence", "threshold", "clean", "attacked")}


def check_subjects_are_files(bundle: Path, subjects: Any) -> None:
    files = {name: sha256 for name, sha256 in subjects.items() if name not in ("engine", "bundle")}
    names = {"manifest.json", "probe.npz", "centers.safetensors", "onnx/forward.fp16.onnx", "onnx/forward.fp32.onnx"}
    assert names < set(files)
    assert "onnx/vjp.fp32.onnx" in files
    assert all(sha256_file(bundle / name) == sha256 for name, sha256 in files.items())
    assert subjects["bundle"] == Bundle.open(bundle).identity()


def check_test_result(said: Any, report: Path) -> None:
    assert said.keys() == {"result", "configuration", "passedTests", "warnedTests", "failedTests"}
    (configuration,) = said["configuration"]
    assert configuration["digest"] == {"sha256": sha256_file(report)}
    assert configuration["annotations"]["samples"] == 200
    assert (said["result"], said["failedTests"]) == ("PASSED", [])
    assert {"drop clean", "drop worst case"} < set(said["passedTests"])
    assert set(RULES) <= {*said["passedTests"], *said["warnedTests"]}


def test_what_is_open_counts_as_failed(signed: Path) -> None:
    result, figures = statements_in(attestations_of(signed, "fp32"))
    assert result.predicate["result"] == "FAILED"
    assert "drop worst case" in result.predicate["failedTests"]
    assert figures.predicate["verdict"] == "inconclusive"
    assert figures.predicate["selftest"] is None
    assert any("samples would decide" in reason for reason in figures.predicate["reasons"])


def test_without_a_key_nothing_is_written_and_the_statements_are_printed(
    verified: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(verified)
    assert attest(verified, "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert "nothing was signed or written: no `--key`" in captured.err
    assert (document["signed"], document["key"]) == (False, None)
    assert [item["_type"] for found in document["attested"] for item in found["statements"]] == [
        "https://in-toto.io/Statement/v1"
    ] * 4
    assert snapshot(verified) == before


def test_a_passphrase_comes_from_the_environment_and_is_never_shown(
    verified: Path, make_key: MakeKey, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = make_key("locked-command", passphrase="open sesame")  # noqa: S106
    assert attest(verified, "--key", locked) == 2
    assert "set ADVCAL_KEY_PASSPHRASE" in capsys.readouterr().err
    monkeypatch.setenv("ADVCAL_KEY_PASSPHRASE", "guess")
    assert attest(verified, "--key", locked) == 2
    assert "guess" not in "".join(capsys.readouterr())
    assert not (verified / "model.sig").exists()
    monkeypatch.setenv("ADVCAL_KEY_PASSPHRASE", "open sesame")
    assert attest(verified, "--key", locked, "--json") == 0
    assert "sesame" not in "".join(capsys.readouterr())
    assert "sesame" not in (verified / "model.sig").read_text()


def test_a_key_inside_the_bundle_is_refused(verified: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = Path(shutil.copy(key, verified / "key.pem"))
    assert attest(verified, "--key", inside) == 2
    assert "lies in the bundle" in capsys.readouterr().err
    assert not (verified / "model.sig").exists()


def test_a_bundle_that_changed_since_it_was_opened_is_not_signed(verified: Path, key: Path) -> None:
    opened = Bundle.open(verified)
    Bundle.open(verified).add({"onnx/forward.int8.onnx": b"x"})
    with pytest.raises(BundleChangedError):
        sign(opened, PrivateKey.read(key))
    assert not (verified / "model.sig").exists()


def test_a_bundle_without_a_report_has_nothing_to_attest(
    verified: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Bundle.open(verified)
    bundle.remove([name for name in bundle.manifest["files"] if name.startswith("reports/")])
    assert attest(verified, "--key", key) == 2
    err = capsys.readouterr().err
    assert "has no report to attest" in err
    assert "advcal-edge verify" in err


def test_a_report_that_does_not_hold_is_left_out_and_its_old_attestation_removed(
    signed: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = report_of(signed, "fp32")
    document = json.loads(path.read_text())
    document["derived"]["verdict"] = "pass"
    name = path.relative_to(signed).as_posix()
    Bundle.open(signed).add({name: json.dumps(document).encode()})
    assert attest(signed, "--key", key) == 0
    captured = capsys.readouterr()
    assert f"left out, since it does not hold: {name}: derived.verdict is pass; expected inconclusive" in captured.err
    assert not attestations_of(signed, "fp32").exists()
    assert attestations_of(signed, "fp16").exists()


def test_a_smaller_margin_passes_and_a_larger_one_only_warns(
    verified: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--engine", "fp32", "--samples", "60", "--margin", "0.1", "--reference", "onnx")
    assert main(["verify", str(verified), *options]) == 0
    assert attest(verified, "--key", key) == 0
    assert "(fp32)  WARNED" in capsys.readouterr().out


def test_check_demands_the_signature_that_a_public_key_names(
    signed: Path, public_key: Path, make_key: MakeKey, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["verify", "--check", str(report_of(signed))]
    assert main([*check, "--public-key", str(public_key)]) == 0
    captured = capsys.readouterr()
    assert "ok         signature" in captured.out
    assert "ok         attestation" in captured.out
    assert main(check) == 0
    assert "by whom was not checked" in capsys.readouterr().err
    stranger = make_key("stranger-command").with_suffix(".pub.pem")
    assert main([*check, "--public-key", str(stranger)]) == 1
    assert "was not signed with the key" in " ".join(capsys.readouterr().out.split())
    (signed / "model.sig").unlink()
    assert main(check) == 0  # unsigned, and no signature was asked for
    assert main([*check, "--public-key", str(public_key)]) == 1
    assert "is not signed" in " ".join(capsys.readouterr().out.split())


def test_check_names_what_changed_after_the_bundle_was_signed(
    signed: Path, key: Path, public_key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["verify", "--check", str(report_of(signed)), "--json"]
    (signed / "notes.txt").write_text("x")
    assert main(check) == 1
    assert "notes.txt` was not signed: it was added later" in capsys.readouterr().out
    (signed / "notes.txt").unlink()
    attestations_of(signed, "fp16").unlink()
    sign_again(signed, key)
    assert main([*check, "--public-key", str(public_key)]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {item["name"]: item["status"] for item in findings}["signature"] == "ok"
    assert {item["name"]: item["status"] for item in findings}["attestation"] == "wrong"


def test_a_public_key_needs_something_to_check(
    signed: Path, public_key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(signed), "--public-key", str(public_key)]) == 2
    assert "`--public-key` belongs to `--check`" in capsys.readouterr().err
    assert main(["embed", str(signed), "x.png", "--public-key", str(public_key)]) == 2
    assert "`--require-verified --public-key KEY.pub.pem`" in capsys.readouterr().err


def test_embed_runs_signed_engines_only(
    signed: Path, public_key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    frame = tmp_path / "frame.png"
    cv2.imwrite(str(frame), np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    demand = ("--require-verified", "--public-key", str(public_key))
    assert main(["embed", str(signed), str(frame), "--engine", "fp16", *demand]) == 0
    assert "verified and signed" in capsys.readouterr().err
    assert main(["embed", str(signed), str(frame), "--engine", "fp32", *demand]) == 2
    assert "says FAILED" in capsys.readouterr().err


def test_inspect_knows_signatures_and_they_are_no_foreign_files(
    signed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(signed), "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["signature"]["files"] == 14  # with the self-test of the engine that passed
    assert document["unlisted"] == []
    of_fp16, of_fp32 = (
        document["reports"][report_of(signed, p).relative_to(signed).as_posix()] for p in ("fp16", "fp32")
    )
    assert (of_fp16["selftest"], of_fp32["selftest"]) == (True, False)
    assert of_fp16["abstention"] == {"threshold": None, "alpha": 0.05}  # so few samples show nothing
    assert of_fp32["abstention"] is None
    assert "signed with the key" in captured.err
    Bundle.create(signed, {}, {"a": b"1"})  # a signed bundle is a bundle, and may be replaced by another
    assert not (signed / "model.sig").exists()
    assert not (signed / "attestations").exists()


def test_a_self_test_is_stored_with_a_pass_and_signed(
    signed: Path, public_key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stored,) = signed.glob("reports/*/selftest.npz")  # fp32 did not pass and has none
    assert main(["selftest", str(signed), "--engine", "fp16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "verified"
    assert main(["selftest", str(signed), "--engine", "fp32"]) == 2
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    with pytest.raises(SignatureError):
        Embedder.load(signed, "fp16", require_verified="signed", public_key=public_key)
