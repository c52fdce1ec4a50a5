"""Studies: every cell becomes a bundle and a row of tables, and a run goes on where it ended."""

from __future__ import annotations

import csv
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tiny_study import HEAD

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.study import Study
from advcal_edge.cli import main

Capture = pytest.CaptureFixture[str]


def test_every_cell_becomes_a_bundle_and_a_row(study_file: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["study", str(study_file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cells"], told["failed"]) == (6, [])
    names = sorted(path.name for path in (tmp_path / "cells").iterdir() if path.is_dir())
    assert names == ["fast-0.02-0", "fast-0.02-1", "fast-4_255-0", "fast-4_255-1", "paper-0.02-0", "paper-4_255-0"]
    with (tmp_path / "tables/mine.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        metrics = Bundle.open(tmp_path / "cells" / row["bundle"]).section("metrics")["after"]
        assert int(row["worst"]) == metrics["worst"]["correct"]
    lines = json.loads((tmp_path / "tables/mine.json").read_text())["lines"]
    assert [line["values"]["preset"] for line in lines] == ["frozen", "paper", "fast"] * 2
    assert [line["seeds"] for line in lines] == [2, 1, 2] * 2  # the frozen encoder is the same for both presets
    fast = lines[2]
    shares = [
        Bundle.open(tmp_path / "cells" / f"fast-0.02-{seed}").section("metrics")["after"]["worst"]["accuracy"]
        for seed in (0, 1)
    ]
    assert fast["figures"]["worst"]["mean"] == pytest.approx(sum(shares) / 2)
    assert (fast["figures"]["worst"]["low"], fast["figures"]["worst"]["high"]) == (min(shares), max(shares))
    assert (fast["seeds"], fast["n"]) == (2, 12)
    assert fast["trainable_fraction"] > 0 == lines[0]["trainable_fraction"]
    table = (tmp_path / "tables/mine.md").read_text().splitlines()
    assert table[0].startswith("| threat.eps | preset | clean | static PGD | adaptive PGD |")
    assert len(table) == 2 + len(lines)
    check_page(tmp_path / "tables/mine.html", lines)
    capsys.readouterr()
    before = (tmp_path / "tables/mine.html").read_bytes()
    (tmp_path / "tables/mine.html").unlink()
    assert main(["study", "tables/mine.json", "--render"]) == 0
    assert capsys.readouterr().out.split() == ["tables/mine.md", "tables/mine.html"]
    assert (tmp_path / "tables/mine.html").read_bytes() == before


ON = {"encoder": "small", "modality": "thermal", "data": "data", "norm": "linf"}


def check_page(path: Path, lines: list[dict[str, Any]]) -> None:
    """The page of six cells: every figure, plots of both radii, what ran, and nothing that runs."""
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    for line in lines:
        low, high = line["figures"]["worst"]["interval"]
        assert f"{100 * low:.1f} to {100 * high:.1f}" in page
        assert {name: line["about"][name] for name in ("encoder", "modality", "data", "norm")} == ON
    assert [line["about"]["eps"] for line in lines] == ["5.1/255"] * 3 + ["4/255"] * 3
    assert "6 of 6" in page
    assert "PGD(steps=2, step=None" in page
    assert 'id="radius"' in page
    assert page.count('role="img"') == 3  # dots, curves and the trade-off of one group
    assert version("torch") in page


def test_without_jinja_the_page_alone_is_missing(
    study_file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["study", str(study_file), "--shard", "1/6"]) == 0
    Path("tables/mine.html").unlink()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    capsys.readouterr()
    assert main(["study", str(study_file), "--tables"]) == 0
    out, err = capsys.readouterr()
    assert out.split() == ["tables/mine.md", "tables/mine.csv", "tables/mine.json"]
    assert "the page was not rendered: " in err
    assert "pip install 'advcal-edge[report]'" in err
    assert main(["study", "tables/mine.json", "--render"]) == 2
    assert main(["study", str(study_file), "--render"]) == 2
    assert "cannot be read as JSON" in capsys.readouterr().err


CASES = """
[[case]]
name = "tight"
threat.eps = "1/255"
[[case]]
name = "wide"
threat.eps = "8/255"
"""


def test_tables_have_a_column_of_cases(study_file: Path, tmp_path: Path) -> None:
    study_file.write_text(HEAD + CASES)
    assert main(["study", str(study_file)]) == 0
    assert sorted(path.parent.name for path in Path("cells").glob("*/manifest.json")) == ["tight", "wide"]
    with Path("tables/mine.csv").open() as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["tight", "wide"]
    assert Path("tables/mine.md").read_text().startswith("| case | preset | clean |")
    lines = json.loads(Path("tables/mine.json").read_text())["lines"]
    assert [(line["values"].get("case"), line["about"]["eps"]) for line in lines] == [
        *(("tight", "1/255"), ("tight", "1/255"), ("wide", "8/255"), ("wide", "8/255"))
    ]


def test_what_is_finished_is_not_done_again(study_file: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["study", str(study_file), "--shard", "1/2"]) == 0
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*/manifest.json")}
    assert len(done) == 3
    assert main(["study", str(study_file)]) == 0
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    assert len(list((tmp_path / "cells").glob("*/manifest.json"))) == 6
    capsys.readouterr()
    assert main(["study", str(study_file), "--tables"]) == 0
    assert "cell " not in capsys.readouterr().err


def test_processes_of_torchrun_share_the_cells(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.read(study_file)
    parts = [study.share(index, 4) for index in range(4)]
    assert sorted(map(str, (cell for part in parts for cell in part))) == sorted(map(str, study.cells))
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "6")
    assert main(["study", str(study_file)]) == 0
    assert [path.parent.name for path in Path("cells").glob("*/manifest.json")] == [study.cells[5].path.name]


def test_a_cell_that_fails_stops_no_other(study_file: Path, tmp_path: Path, capsys: Capture) -> None:
    text = study_file.read_text().replace('"threat.eps" = ["0.02", "4/255"]', '"adapter.kind" = ["prompt", "norms"]')
    study_file.write_text(text.replace('["paper", "fast"]', '["fast"]').split("[[skip]]")[0])
    assert main(["study", str(study_file), "--json"]) == 1
    out, err = capsys.readouterr()
    assert [failed["cell"] for failed in json.loads(out)["failed"]] == [
        f"preset=fast adapter.kind=prompt seed={seed}" for seed in (0, 1)
    ]
    assert "finds nothing to change" in err
    assert len(list((tmp_path / "cells").glob("*/manifest.json"))) == 2


def test_bundles_of_other_settings_are_never_taken_for_ones_own(study_file: Path, capsys: Capture) -> None:
    assert main(["study", str(study_file), "--shard", "1/6"]) == 0
    text = study_file.read_text()
    for changed in (
        text.replace("steps = 2", "steps = 3"),
        text.replace("[grid]", '[settings.threat]\nnorm = "l2"\n[grid]'),
    ):
        study_file.write_text(changed)
        assert main(["study", str(study_file), "--tables"]) == 2
        assert "was calibrated with other settings" in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_part_that_is_none(study_file: Path, shard: str, capsys: Capture) -> None:
    assert main(["study", str(study_file), "--shard", shard]) == 2
    assert "is no part of a study" in capsys.readouterr().err
