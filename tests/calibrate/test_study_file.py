"""The file of a study: cases and a grid become cells, and what is wrong with it is said before any work."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from tiny_study import HEAD, write_study

from advcal_edge.calibrate.config import DataConfig
from advcal_edge.calibrate.study import Study
from advcal_edge.calibrate.study_file import folder_name
from advcal_edge.cli import main
from advcal_edge.errors import ConfigError

Capture = pytest.CaptureFixture[str]
STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))
CASES = """
[[case]]
name = "near"
threat.eps = "2/255"
"train.epochs" = 2

[[case]]
name = "far"
[case.threat]
eps = "8/255"
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[grid]", "[gird]", "did you mean `grid`?"),
        ("[grid]", "[settings.x]", "has no table `grid`"),
        ("seed = [0, 1]", "seed = 0", "expected a list of values"),
        ("seed = [0, 1]", "seed = []", "expected a list of values"),
        ("seed = [0, 1]", "seed = [0, 0]", "share the name"),
        ("seed = [0, 1]", 'seed = ["x"]', "cell preset=paper threat.eps=0.02 seed=x"),
        ('"threat.eps"', '"threat.epsilon"', "unknown setting `threat.epsilon`"),
        ('preset = "paper"', "sed = 3", "is no key of its `grid`"),
        ('out = "cells"', "", "has no `out`"),
        ("seed = 1", "seed = [0, 1]\n[[skip]]\nseed = [0, 1]", "every cell is skipped"),
        ("seed = [0, 1]", f"seed = {list(range(3000))}", "STUDY_CELLS"),
    ],
)
def test_a_wrong_file_is_refused_before_any_work(
    study_file: Path, old: str, new: str, words: str, capsys: Capture
) -> None:
    text = study_file.read_text()
    assert old in text
    study_file.write_text(text.replace(old, new, 1))
    assert main(["study", str(study_file)]) == 2
    assert words in capsys.readouterr().err
    assert not Path("cells").exists()


def cells(folder: Path, text: str) -> Study:
    """The study of HEAD and `text`."""
    return Study.read(write_study(folder, HEAD + text))


def test_cells_are_cases_times_the_grid(tmp_path: Path) -> None:
    study = cells(
        tmp_path, CASES + '[grid]\nseed = [0, 1]\npreset = ["paper", "fast"]\n[[skip]]\ncase = "far"\nseed = 1'
    )
    assert [cell.path.name for cell in study.cells] == [
        *("near-0-paper", "near-0-fast", "near-1-paper", "near-1-fast", "far-0-paper", "far-0-fast")
    ]
    near, far = study.cells[0], study.cells[-1]
    assert str(far) == "case=far seed=0 preset=fast"
    assert (near.config.threat.eps, far.config.threat.eps) == (2 / 255, 8 / 255)
    assert (near.config.train.epochs, far.config.train.epochs) == (2, 1)  # a case is above the settings of all
    assert (near.config.train.samples, near.config.data.path) == (32, "data")


def test_cases_need_no_grid(tmp_path: Path) -> None:
    assert [cell.path.as_posix() for cell in cells(tmp_path, CASES).cells] == ["cells/near", "cells/far"]


def test_a_value_may_leave_its_key_as_it_is(tmp_path: Path) -> None:
    grid = '[grid]\n"adapter.kind" = ["default", "norms"]\npreset = ["fast", "paper"]\n'
    study = cells(tmp_path, grid + '[[skip]]\npreset = "paper"\n"adapter.kind" = "norms"')
    kinds = {cell.path.name: cell.config.adapter.kind for cell in study.cells}
    assert kinds == {"default-fast": "stem-filter+lora-xs+norms", "default-paper": "head", "norms-fast": "norms"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "near"', "", "`name` of case 1 is None"),
        ('name = "near"', "name = 3", "`name` of case 1 is 3"),
        ('name = "near"', 'name = ""', "the first a letter or a digit"),
        ('name = "near"', 'name = ".."', "is '..'"),
        ('name = "near"', 'name = "../up"', "expected up to 64 of A-Z"),
        ('name = "near"', 'name = "a/b"', "becomes part of the names of folders"),
        ('name = "near"', 'name = "a\\u0000b"', "expected up to 64 of A-Z"),
        ('name = "near"', 'name = "-rf"', "the first a letter or a digit"),
        ('name = "near"', 'name = "near.partial"', "expected up to 64 of A-Z"),
        ('name = "near"', f'name = "{"a" * 65}"', "expected up to 64 of A-Z"),
        ('name = "far"', 'name = "near"', "two cases have the name `near`"),
        ('[[case]]\nname = "far"\n[case.threat]\neps', "[[grid]]\nx", "is not TOML"),
        ('threat.eps = "2/255"', "threat.epsilon = 1", "unknown setting `threat.epsilon`"),
        ('"train.epochs" = 2', "seed = 1", "case `near` sets `seed`, and so does `grid`"),
        ('"train.epochs" = 2', '"threat.eps" = "3/255"', "`threat.eps` is there twice"),
        ('"train.epochs" = 2', "threat.eps.x = 2", "is not TOML"),
        ('"train.epochs" = 2', '"threat.eps.x" = 2', "`eps` of `threat.eps.x` has a value of its own"),
        ('"train.epochs" = 2', 'out = "elsewhere"', "a cell has no `out` of its own"),
        ('case = "far"', 'case = "fat"', "did you mean `far`?"),
        ('case = "far"', 'encoder = "small"', "is no key of its `grid`"),
        ("seed = [0]", 'case = ["x"]', "expected cases as tables `[[case]]`"),
    ],
)
def test_wrong_cases_are_refused(
    tmp_path: Path, old: str, new: str, words: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = CASES + '[grid]\nseed = [0]\n[[skip]]\ncase = "far"\n'
    assert old in text
    assert main(["study", str(write_study(tmp_path, HEAD + text.replace(old, new, 1)))]) == 2
    assert words in capsys.readouterr().err
    assert not Path("cells").exists()


def test_one_bracket_makes_no_case(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("`[[case]]`, with two brackets")):
        cells(tmp_path, '[case]\nname = "near"')


@pytest.mark.parametrize("value", ["..", ".", "../..", "/etc/passwd", ".hidden", "a\\b", "a\nb"])
def test_no_value_leads_out_of_the_folder(value: str) -> None:
    name = folder_name({"data.path": value})
    assert re.fullmatch(r"[^./\\\n][^/\\\n]*", name)
    assert (Path("cells") / name).parent == Path("cells")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_of_this_repository_are_right(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "layout" not in {field.name for field in fields(DataConfig)}:  # a setting of data sets in their published layout
        text = re.sub(r"^(data\.)?layout = .*$", "", text, flags=re.MULTILINE)
    (tmp_path / path.name).write_text(text, encoding="utf-8")
    assert Study.read(tmp_path / path.name).cells


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Study.read(tmp_path / "none.toml")
