"""`verify --norm`: attacks in another norm than the bundle's, what is refused, and what such a report counts for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import Linear, write_bundle

from advcal_edge.cli import main
from advcal_edge.spec import image

Capture = pytest.CaptureFixture[str]
SIDE, N = 8, 24
L2 = float(f"{4 / 255 * SIDE:.4g}")  # eps sqrt(n / 3) of linf 4/255, n = 3 * 8 * 8
FEW = ["--engine", "fp32", "--reference", "onnx", "--samples", str(N)]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "B", Linear.random(image(SIDE)), ("fp32",), {}, samples=N, gradient=True).path


def test_a_bundle_of_linf_is_verified_in_l2_beside_its_own_report(bundle: Path, capsys: Capture) -> None:
    assert main(["verify", str(bundle), *FEW]) in (0, 1)
    (own,) = bundle.glob("reports/*/report.json")
    before = own.read_bytes()
    capsys.readouterr()
    assert main(["verify", str(bundle), *FEW, "--norm", "l2"]) in (0, 1)
    stdout, stderr = capsys.readouterr()
    assert f"l2 {L2}" in stderr
    assert f"calibrated against linf 4/255: reports on l2 {L2} lie beside its own and do not count" in stderr
    assert "left out" not in stderr  # every attack of the budgets works in l2
    assert "does not verify it" in " ".join(stdout.split())
    assert own.read_bytes() == before
    other = own.parent.with_name(f"{own.parent.name}-l2") / "report.json"
    report = json.loads(other.read_text())
    assert report["measured"]["threat"] == {"norm": "l2", "eps": L2, "bounds": [0.0, 1.0]}
    assert {item["route"] for item in report["derived"]["routes"]} == {
        "transfer", "gradient", "difference", "black box", "label only", "second look"
    }  # fmt: skip
    by_name = {item["name"]: item["status"] for item in report["derived"]["checks"]}
    assert (by_name["huge_eps"], by_name["falls_to_zero"]) == ("pass", "pass")
    assert "does not verify it" in (other.parent / "report.html").read_text()
    assert main(["verify", "--check", str(other)]) == 0


def test_an_own_radius_in_l2(bundle: Path, capsys: Capture) -> None:
    assert main(["verify", str(bundle), *FEW, "--norm", "l2", "--eps", "0.75"]) in (0, 1)
    assert "  l2 0.75  " in capsys.readouterr().err


def test_the_norm_of_a_report_cannot_be_changed(bundle: Path) -> None:
    assert main(["verify", str(bundle), *FEW, "--norm", "l2"]) in (0, 1)
    (path,) = bundle.glob("reports/*/report.json")
    report = json.loads(path.read_text())
    report["measured"]["threat"]["norm"] = "linf"
    forged = bundle.parent / "report.json"
    forged.write_text(json.dumps(report))
    assert main(["verify", str(bundle), "--check", str(forged)]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--norm", "l1"], "unknown norm `l1`; expected one of: `linf`, `l2`"),
        (["--norm", "l2", "--eps", "14"], "from 13.86 on, every input is in reach of every other"),
        (["--norm", "l2", "--eps", "-1"], "eps must lie in [0, inf)"),
        (["--norm", "l2", "--eps", "0"], "leaves nothing to attack"),
        (["--norm", "linf", "--eps", "1.5"], "eps must lie in [0, 1]"),
    ],
)
def test_what_verify_refuses(bundle: Path, arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(["verify", str(bundle), *FEW, *arguments]) == 2
    assert message in capsys.readouterr().err
