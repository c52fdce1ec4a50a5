"""`advcal-edge doctor`: finds out by doing, and fails only for what was asked."""

from __future__ import annotations

import json

import pytest

from advcal_edge.cli import main, probes

Capture = pytest.CaptureFixture[str]


def broken() -> str:
    raise OSError("libfoo.so is missing\nand more")


def absent() -> str:
    raise ImportError("No module named 'foo'")


def test_every_probe_that_the_tests_need_works() -> None:
    for name in ("frames", "disk", "engine", "torch", "config", "exporter", "html"):
        finding = probes.probe(name)
        assert finding.works, finding.detail


def test_whole_command(capsys: Capture) -> None:
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    for name in (*probes.PROBES, *(f"[{extra}]" for extra in probes.EXTRAS), *probes.CAPABILITIES):
        assert f"\n{name} " in f"\n{out}"
    assert "next: advcal-edge demo" in err


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """All probes pass at once, but torch is missing and the exporter broken."""
    table = dict.fromkeys(probes.PROBES, lambda: "fine")
    monkeypatch.setattr(probes, "PROBES", {**table, "torch": absent, "exporter": broken})


@pytest.mark.parametrize(("wanted", "code"), [("run", 0), ("verify", 0), ("calibrate", 1), ("export", 1)])
@pytest.mark.usefixtures("without_torch")
def test_exit_code_is_about_what_was_asked(wanted: str, code: int, capsys: Capture) -> None:
    assert main(["doctor", "--for", wanted]) == code
    assert ("cannot" in capsys.readouterr().err) == bool(code)
    assert main(["doctor"]) == 0


@pytest.mark.usefixtures("without_torch")
def test_json_says_what_to_install(capsys: Capture) -> None:
    assert main(["doctor", "--json", "--for", "export"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["probes"]["torch"] == {"works": False, "detail": "not installed: No module named 'foo'"}
    assert data["probes"]["exporter"] == {"works": False, "detail": "libfoo.so is missing"}
    assert data["extras"]["calibrate"] == {"ready": False, "install": "pip install 'advcal-edge[calibrate]'"}
    assert data["extras"]["cpu"] == {"ready": True, "install": None}
    assert data["capabilities"] == {
        "run": True,
        "calibrate": False,
        "export": False,
        "verify": True,
        "trt": True,
        "ros": True,
    }


def test_unknown_capability(capsys: Capture) -> None:
    assert main(["doctor", "--for", "fly"]) == 2
    assert "internal error" not in capsys.readouterr().err


def test_tables_name_what_exists() -> None:
    for needed in (*probes.EXTRAS.values(), *probes.CAPABILITIES.values()):
        assert set(needed) <= set(probes.PROBES)
