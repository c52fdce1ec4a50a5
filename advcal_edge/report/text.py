"""What `verify` prints: one table an engine, one line an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from advcal_edge.report.document import engine_name, modality_name, named, reading, tally, threat_name
from advcal_edge.report.ranking import RankingRow, ranking, sides
from advcal_edge.report.table import one_line, percent, percent_interval, table

VERDICT = {"pass": "PASS", "fail": "FAIL", "inconclusive": "INCONCLUSIVE"}
OUTCOME = {"pass": "pass", "fail": "FAIL", "inconclusive": "open"}
RANKING = ("% [95 %]", "clean: reference", "engine", "attacked: reference", "engine")


def verification_table(report: Mapping[str, Any]) -> str:
    """What was tested, comparisons and rankings in percent, the checks, and last the verdict with its reasons.

    Raises:
        BundleError: unknown schema, or malformed.
    """
    with reading(report):
        header = ("", "reference [95 %]", "engine [95 %]", "flips", "drop [95 %]", "verdict")
        rows = [comparison_row(item) for item in report["comparisons"]]
        ranks = [ranking_row(row) for row in ranking(report)]
        parts = [subject(report), table(header, rows)]
        parts += [table(RANKING, ranks)] if ranks else []
        return "\n\n".join([*parts, f"checks  {checks_line(report)}\n{verdict_lines(report)}"])


def summary_table(reports: Sequence[Mapping[str, Any]]) -> str:
    """One row an engine: accuracy of reference -> engine in percent, worst-case drop, checks, verdict.

    Raises:
        BundleError: unknown schema, or malformed.
    """
    rows = []
    for report in reports:
        with reading(report):
            rows.append(summary_row(report))
    header = ("engine", "clean", "worst case", "flips", "drop [95 %]", "pass/fail/skip", "verdict")
    return table(header, rows)


def subject(report: Mapping[str, Any]) -> str:
    """One line: what is tested, on how many samples, against whom."""
    parts = [
        modality_name(report),
        f"engine {engine_name(report)}",
        f"n={report['samples']}",
        threat_name(report),
        f"budget {report['budget']['name']}",
        f"margin {100 * report['margin']:g} points",
        f"seed {report['seed']}",
    ]
    return "  ".join(one_line(part) for part in parts if part)


def comparison_row(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Accuracies and drop with intervals, flips as +gained / -lost on the engine; a dash where nothing is decided."""
    return (
        one_line(item["name"]),
        *map(share, sides(item)),
        flips(item),
        drop(item),
        OUTCOME[item["verdict"]] if item["decides"] else "-",
    )


def summary_row(report: Mapping[str, Any]) -> tuple[str, ...]:
    """One engine in one row."""
    counts, worst = tally(report), named(report, "worst case")
    clean_sides, worst_sides = (
        " -> ".join(percent(side["accuracy"]) for side in sides(item)) for item in (named(report, "clean"), worst)
    )
    return (
        one_line(engine_name(report)),
        clean_sides,
        worst_sides,
        flips(worst),
        drop(worst),
        "/".join(str(counts[status]) for status in ("pass", "fail", "skipped")),
        VERDICT[report["verdict"]],
    )


def ranking_row(row: RankingRow) -> tuple[str, ...]:
    """Shares clean and attacked, on reference and engine."""
    return (one_line(row.name), *map(share, (*row.clean, *row.attacked)))


def share(side: Mapping[str, Any]) -> str:
    """Percent with its interval."""
    return f"{percent(side['accuracy'])} {percent_interval(*side['interval'])}"


def flips(item: Mapping[str, Any]) -> str:
    """Samples only the engine gets right, and samples it loses."""
    return f"+{item['only_engine']} / -{item['only_reference']}"


def drop(item: Mapping[str, Any]) -> str:
    """Points lost on the engine, with their interval."""
    return f"{percent(item['drop'])} {percent_interval(*item['interval'])}"


def checks_line(report: Mapping[str, Any]) -> str:
    """How many passed, failed and were skipped; those that did not pass by name."""
    counts, parts = tally(report), []
    for status, word in (("pass", "passed"), ("fail", "failed"), ("skipped", "skipped")):
        named_here = [] if status == "pass" else [c for c in report["checks"] if c["status"] == status]
        detail = "; ".join(one_line(check_detail(check)) for check in named_here)
        parts.append(f"{counts[status]} {word}" + (f" ({detail})" if detail else ""))
    return ", ".join(parts)


def check_detail(check: Mapping[str, Any]) -> str:
    """A check that did not pass, in a few words."""
    advisory = "" if check["required"] else ", advisory"
    if check["status"] == "skipped":
        return f"{check['name']}: {check['why']}{advisory}"
    measured = "not finite" if check["measured"] is None else f"{check['measured']:.4g}"
    return f"{check['name']}: {measured}, limit {check['limit']}{advisory}"


def verdict_lines(report: Mapping[str, Any]) -> str:
    """The verdict in capitals and what it rests on, one reason a line."""
    word = VERDICT[report["verdict"]]
    reasons = [one_line(reason) for reason in report["reasons"]] or [settled(report)]
    return "\n".join(f"{word if i == 0 else ' ' * len(word)}  {reason}" for i, reason in enumerate(reasons))


def settled(report: Mapping[str, Any]) -> str:
    """Why a report without reasons passed."""
    drops = ", ".join(
        f"{one_line(item['name'])} drop {drop(item)}" for item in report["comparisons"] if item["decides"]
    )
    return f"{drops}: below {100 * report['margin']:g} points; every required check passed"
