"""`verify --craft` and `--suite`: craft inputs here, judge them on a board that is too small to attack on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.cli.heartbeat import heartbeat
from advcal_edge.commands import command

if TYPE_CHECKING:
    from advcal_edge.verify import VerifyOptions


def craft(bundle: Bundle, console: Console, options: VerifyOptions, path: Path) -> int:
    """Write a suite of crafted inputs; returns the exit code."""
    from advcal_edge.storage import sha256_bytes, write_atomic
    from advcal_edge.verify.suite import craft_suite

    with heartbeat(console):
        suite = craft_suite(bundle, options, console.progress)
    data = suite.to_bytes()
    write_atomic(path, data)
    digest = sha256_bytes(data)
    console.say(f"wrote {path}: {len(suite.y)} samples, crafted on {', '.join(suite.crafted)}, sha256 {digest}")
    console.document({"suite": str(path), "sha256": digest, "samples": len(suite.y), "crafted_on": [*suite.crafted]})
    console.next(command("verify", bundle.path, "--engine", "ENGINE", "--suite", path.name))
    return 0


def judge(bundle: Bundle, console: Console, options: VerifyOptions, path: Path) -> int:
    """Have an engine label a suite, and show what that says; returns the exit code."""
    from advcal_edge.report.table import one_line, table
    from advcal_edge.report.text import COMPARISONS, comparison_row
    from advcal_edge.threat import ThreatModel
    from advcal_edge.verify.report import to_bytes
    from advcal_edge.verify.transfer import WITHSTOOD, judge_suite

    with heartbeat(console):
        document, name = judge_suite(bundle, path, options, console.progress)
    bundle.add({name: to_bytes(document)})
    derived, measured = document["derived"], document["measured"]
    console.say(f"wrote {bundle.path / name}")
    rows = [comparison_row(item) for item in derived["comparisons"]]
    threat, budget = ThreatModel.from_json(measured["threat"]), measured["suite"]["budget"]
    said = [
        f"engine {measured['engine']['sha256'][:8]}  suite {measured['suite']['sha256'][:8]}  n={derived['samples']}"
        f"  {threat}  crafted with budget {one_line(dict(budget).get('name'))}",
        table(COMPARISONS, rows),
        f"{derived['verdict'].upper()}  {'; '.join(derived['reasons']) or 'no drop transfers'}",
        f"transfer alone, no verification: {derived['limits']}",
    ]
    console.result("\n\n".join(said) + "\n")
    console.document(document)
    return 0 if derived["verdict"] == WITHSTOOD else 1
