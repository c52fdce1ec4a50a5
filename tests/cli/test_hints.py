"""Every command and option that a message of this package names exists, and paths in it can be pasted."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from advcal_edge.cli import main
from advcal_edge.cli.app import COMMANDS, load
from advcal_edge.commands import command

ROOT = Path(__file__).parents[2]
UNKNOWN = "…"
"""Stands for what only a run knows."""
INVOKED = re.compile(r"advcal-edge ([a-z]+)((?: (?:--[a-z-]+|[^\s`;,]+))*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
PROSE = {"advcal-edge that", "advcal-edge needs"}
OTHERS = ("export/tensorrt/check_precision.py",)  # of TensorRT's own tool, `trtexec`

OF_ROS = {"--ros-args", "--params-file", "--clock"}
"""Options of every program of ROS, and of `ros2`."""


def sources() -> Iterator[Path]:
    """The package's own modules, each once."""
    for folder in ("advcal_edge", "calibrate", "export", "robot", "runtime"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(part.is_symlink() for part in path.parents):
                yield path


def said(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may be, with `UNKNOWN` for what is filled in when it runs."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = [next(said(part), UNKNOWN) for part in node.values]
        yield "".join(parts)
    elif isinstance(node, ast.FormattedValue):
        yield next(said(node.value), UNKNOWN) if isinstance(node.value, ast.Call) else UNKNOWN
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "command":
        words = [next(said(word), UNKNOWN) for word in node.args]
        yield "advcal-edge " + " ".join(words)
    elif isinstance(node, ast.IfExp):
        yield from said(node.body)
        yield from said(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from said(value)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield next(said(node.left), UNKNOWN) + next(said(node.right), UNKNOWN)


def documentation(tree: ast.AST) -> set[int]:
    """Nodes that are docstrings, of attributes too."""
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Expr))
    return {id(node.value) for node in found if isinstance(node.value, ast.Constant)}


def texts() -> Iterator[tuple[str, str]]:
    """Place and words of every text of the package that is no documentation."""
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        skipped = documentation(tree) | inner
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.expr)
                and id(node) not in skipped
                and isinstance(node, (ast.Constant, ast.JoinedStr, ast.Call))
            ):
                for text in said(node):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def hints() -> Iterator[tuple[str, str]]:
    """Place and words of every hint: the argument `hint`, and what is assigned to a variable of that name."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            values = [node.value] if isinstance(node, ast.keyword) and node.arg == "hint" else []
            if isinstance(node, ast.Assign) and any(
                getattr(name, "id", getattr(name, "attr", "")) == "hint" for name in node.targets
            ):
                values.append(node.value)
            for value in values:
                for text in said(value):
                    yield f"{path.relative_to(ROOT)}:{value.lineno}", text


def options(name: str) -> set[str]:
    """The options of a command."""
    return {spelling for parameter in load(name).params for spelling in parameter.opts}


KNOWN = {name: options(name) for name in COMMANDS}
TEXTS, HINTS = sorted(set(texts())), sorted(set(hints()))


def test_hints_were_found() -> None:
    assert len(HINTS) > 150
    assert sum("advcal-edge " in text for _, text in TEXTS) > 20
    assert any("--until-parity" in text for _, text in HINTS)


def test_every_command_that_is_named_exists_and_has_the_options_that_are_named() -> None:
    found, wrong = 0, []
    for place, text in TEXTS:
        for match in INVOKED.finditer(text):
            name = match[1]
            if f"advcal-edge {name}" in PROSE:
                continue
            found += 1
            unknown = set(OPTION.findall(match[2])) - KNOWN.get(name, set())
            if name not in KNOWN or unknown:
                wrong.append((place, match[0], sorted(unknown)))
    assert not wrong
    assert found > 20


def test_every_option_in_a_hint_is_one_of_some_command() -> None:
    everywhere = OF_ROS.union(*KNOWN.values())
    wrong = [
        (place, name)
        for place, text in HINTS
        for name in OPTION.findall(text)
        if name not in everywhere and not place.startswith(OTHERS)
    ]
    assert not wrong


def test_no_hint_has_a_letter_where_a_path_is_known() -> None:
    # no bundle was named, and none is known
    allowed = ("advcal_edge/cli/audit.py", "advcal_edge/cli/verify.py", "advcal_edge/cli/pair.py")
    wrong = [
        (place, text)
        for place, text in HINTS
        if re.search(r"(?<=\s)B(?=[\s`;,]|$)", text) or ("BUNDLE" in text and not place.startswith(allowed))
    ]
    assert not wrong


def test_what_is_filled_into_a_command_goes_through_the_one_that_quotes() -> None:
    wrong = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else UNKNOWN for part in node.values)
                wrong += [(str(path), match[0]) for match in INVOKED.finditer(text) if UNKNOWN in match[0]]
    assert not wrong


@pytest.mark.parametrize("name", ["plain", "two words", "a; rm -rf ~", "$(touch x)", "`touch x`", "it's", "-n", "a\nb"])
def test_a_path_in_a_command_is_one_word_of_it(name: str) -> None:
    assert shlex.split(command("verify", Path("/data") / name, "--engine", name)) == [
        "advcal-edge", "verify", f"/data/{name}", "--engine", name,
    ]  # fmt: skip


def test_a_hint_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "a report; of $HOME.json"
    report.write_text("{}")
    assert main(["verify", "--check", str(report)]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("hint: "))
    assert shlex.split(line.removeprefix("hint: ")) == ["advcal-edge", "verify", "BUNDLE", "--check", str(report)]
