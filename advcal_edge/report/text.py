"""Terminal output of `verify`: a table per engine, a line per engine, and the findings of `verify --check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from advcal_edge.report.census import shown
from advcal_edge.report.document import (
    RankingRow,
    compared,
    confidence,
    engine_name,
    foreign_norm,
    matrix_rows,
    modality_name,
    named,
    ranking,
    reading,
    sides,
    tally,
    threat_name,
)
from advcal_edge.report.table import WIDTH, clipped, one_line, percent, percent_interval, table, wrapped
from advcal_edge.stats import LEVEL

VERDICT = {"pass": "PASS", "fail": "FAIL", "inconclusive": "INCONCLUSIVE"}
OUTCOME = {"pass": "pass", "fail": "FAIL", "inconclusive": "open"}
COMPARISONS = ("", "reference [95 %]", "engine [95 %]", "flips", "drop [95 %]", "verdict")
FINDING = {"ok": "ok", "wrong": "WRONG", "unchecked": "unchecked"}
NAME_WIDTH = 32
RANKING = ("reference -> engine [95 %]", "clean", "attacked")


def verification_table(document: Mapping[str, Any]) -> str:
    """Subject, comparisons, rankings and matrix in percent, the checks, and last the verdict with its reasons.

    At most 100 columns wide, and readable in a log.

    Raises:
        BundleError: unknown schema, or malformed.
    """
    with reading(document) as report:
        ranks = [ranking_row(row) for row in ranking(report)]
        header = (*COMPARISONS[:4], f"drop [{confidence(report)}]", *COMPARISONS[5:])
        parts = [subject(report), table(header, [comparison_row(item) for item in report["comparisons"]])]
        parts += [table(RANKING, ranks)] if ranks else []
        parts += [matrix_table(report["matrix"])] if "matrix" in report else []
        foreign = foreign_norm(report)
        last = [
            *([wrapped("threat  ", foreign)] if foreign else []),
            *(
                [wrapped("compared  ", f"with {compared(report)}, which was not calibrated")]
                if compared(report)
                else []
            ),
            *engine_lines(report),
            *class_lines(report),
            *abstention_line(report),
            *rebuilds_line(report),
            *fallback_line(report),
            *sequential_line(report),
            *history_line(report),
            *checks_lines(report),
            *verdict_lines(report),
        ]
        return "\n\n".join([*parts, "\n".join(last)])


def summary_table(documents: Sequence[Mapping[str, Any]]) -> str:
    """One row per engine: accuracy of reference -> engine in percent, worst-case drop, checks, verdict.

    Raises:
        BundleError: unknown schema, or malformed.
    """
    rows = []
    for document in documents:
        with reading(document) as report:
            rows.append(summary_row(report))
    header = ("engine", "clean", "worst case", "flips", "drop [95 %]", "pass/fail/skip", "verdict")
    return table(header, rows)


def subject(report: Mapping[str, Any]) -> str:
    """Engine, number of samples and reference: on one line if it fits."""
    parts = [
        modality_name(report),
        f"engine {engine_name(report)}",
        f"n={report['samples']}",
        threat_name(report),
        f"budget {report['budget']['name']}",
        f"margin {100 * report['margin']:g} points",
        f"seed {report['seed']}",
    ]
    lines = [""]
    for part in (clipped(part, 60) for part in parts if part):
        if lines[-1] and len(lines[-1]) + 2 + len(part) > WIDTH:
            lines.append("")
        lines[-1] += f"  {part}" if lines[-1] else part
    return "\n".join(lines)


def comparison_row(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Accuracies and drop with intervals, flips as +gained / -lost on the engine; a dash if it does not decide."""
    return (
        clipped(item["name"], 20),
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
        clipped(engine_name(report)),
        clean_sides,
        worst_sides,
        flips(worst),
        drop(worst),
        "/".join(str(counts[status]) for status in ("pass", "fail", "skipped")),
        VERDICT[report["verdict"]],
    )


def ranking_row(row: RankingRow) -> tuple[str, ...]:
    """Shares clean and attacked; the engine's with its interval."""
    return (clipped(row.name), *(f"{percent(a['accuracy'])} -> {share(b)}" for a, b in (row.clean, row.attacked)))


def matrix_table(matrix: Mapping[str, Any]) -> str:
    """Accuracy under one attack in percent: crafted on in rows, judged by in columns."""
    attack = one_line(matrix["attack"]).partition("(")[0]
    header = (clipped(f"{attack} crafted on / judged on"), *(clipped(name, 10) for name in matrix["judged_on"]))
    rows = [(clipped(name), *(percent(cell["accuracy"]) for cell in row)) for name, row in matrix_rows(matrix)]
    return table(header, rows)


def engine_lines(report: Mapping[str, Any]) -> list[str]:
    """How an engine made by others was bridged, a gradient from torch, build details of a plan, polygraphy's result."""
    engine = report["engine"]
    lines = [wrapped("bridged   ", "; ".join(engine["bridged"]))] if "bridged" in engine else []
    if engine.get("gradient_from") == "torch":
        lines.append(wrapped("gradient  ", f"from the torch module, {engine['gradient']}"))
    if "plan" in engine:
        plan = engine["plan"]
        version, place = ".".join(map(str, plan["version"])), plan["device"] or "a machine without a device"
        text = f"{plan['product']} {version} on {place}; {plan['asked']} asked for, {engine['precision']} achieved"
        lines.append(wrapped("plan      ", f"{text} ({plan['evidence']})"))
    if "census" in engine:
        lines.append(wrapped("census    ", shown(engine["census"])))
    if "cross_check" in engine:
        check = engine["cross_check"]
        text = f"{check['tool']} agrees on {check['samples']} samples, relative L2 {check['relative_l2']:.1e}"
        lines.append(wrapped("opinion   ", text))
    return lines


def class_lines(report: Mapping[str, Any]) -> list[str]:
    """The class that loses most, clean and in the worst case, with an interval that holds for all classes together."""
    classes = report["classes"]
    parts = [
        f"{item['comparison']} {clipped(item['label'], 20)} {drop(item)} of {item['n']}" for item in classes["worst"]
    ]
    allowed = "" if classes["margin"] is None else f"; allowed {100 * classes['margin']:g} in any class"
    return [wrapped("class     ", f"largest drop of {classes['classes']} classes: {', '.join(parts)}{allowed}")]


def abstention_line(report: Mapping[str, Any]) -> list[str]:
    """The margin above which answers may be trusted, or that none is known; empty if nobody asked."""
    if "abstention" not in report:
        return []
    rule = report["abstention"]
    clean, attacked, allowed = rule["clean"], rule["attacked"], f"{100 * rule['alpha']:g} %"
    figures = (
        f"{percent(clean['coverage'])} % of {clean['n']} clean answers, {percent(attacked['coverage'])} % under attack;"
        f" wrong of these {clean['wrong']} of {clean['accepted']}, under attack {attacked['wrong']} of"
        f" {attacked['accepted']}, at most {percent(attacked['bound'])} %"
    )
    if rule["threshold"] is None:
        text = f"no margin is known to keep wrong answers below {allowed}; above {rule['tried']:.4g}: {figures}"
    else:
        text = f"answers count above a margin of {rule['threshold']:.4g}: {figures}, allowed {allowed}"
    return [wrapped("abstain   ", text)]


def rebuilds_line(report: Mapping[str, Any]) -> list[str]:
    """How much builds of one graph differ; empty if it was built once."""
    if "rebuilds" not in report:
        return []
    rebuilds = report["rebuilds"]
    accuracies = [build["worst_case"]["accuracy"] for build in rebuilds["builds"]]
    verdicts = Counter(build["verdict"] for build in rebuilds["builds"])
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICT if verdicts[verdict])
    text = (
        f"{len(accuracies)} builds, {rebuilds['distinct']} distinct: {counts}; worst case of the engine"
        f" {percent(min(accuracies))} to {percent(max(accuracies))}, spread {percent(rebuilds['spread'])} points"
    )
    return [wrapped("rebuilds  ", text)]


def fallback_line(report: Mapping[str, Any]) -> list[str]:
    """Every step of the precision fallback up to this engine, and nodes kept in fp32; empty without a fallback."""
    if "fallback" not in report:
        return []
    fallback = report["fallback"]
    steps = ", ".join(f"{attempt['step']} {attempt['verdict']}" for attempt in fallback["attempts"])
    lines = [wrapped("fallback  ", f"{fallback['asked']} was asked for: {steps}")]
    return [*lines, wrapped("nodes  ", nodes_text(fallback["nodes"]))] if "nodes" in fallback else lines


def sequential_line(report: Mapping[str, Any]) -> list[str]:
    """When the looks of a sequential test decided, and on which evidence; empty for a fixed number of samples."""
    if "sequential" not in report:
        return []
    found, margin = report["sequential"], 100 * report["margin"]
    enough = f"{1 / found['level']:.0f} : 1 decides"
    state = f"open after {report['samples']}" if found["decided"] is None else f"decided at {found['decided']}"
    told = ", ".join(f"{name} {evidence(item)}" for name, item in found["paths"].items())
    return [
        wrapped("looks     ", f"{state} samples; most evidence against a drop of {margin:g} points: {told}; {enough}")
    ]


def evidence(looks: Mapping[str, Any]) -> str:
    """The largest capital that betting on a pass ever had, and on a fail if that decided."""
    side = "failing" if looks["verdict"] == "fail" else "passing"
    most = min(max(looks[side]), 9)  # a billion to one is enough to say
    return f"{10**most:.3g} : 1" + (" for a larger one" if side == "failing" else "")


def history_line(report: Mapping[str, Any]) -> list[str]:
    """Earlier runs on the engine, and what is left of the error rate; empty if there were none."""
    if "history" not in report:
        return []
    found = report["history"]
    runs = ", ".join(f"{run['samples']} samples {run['verdict']}" for run in found["runs"][-4:])
    more = f"{len(found['runs'])} runs, the last of them " if len(found["runs"]) > 4 else ""
    if found["number"] == 1:
        return [wrapped("earlier   ", f"{more}{runs}; none of them counts against this run")]
    text = (
        f"{more}{runs}: this is try {found['number']}, and the error rate of a test that is tried once no longer holds;"
        f" this one is held to {100 * found['level']:.3g} % instead of {100 * LEVEL:g} %, and all tries together err in"
        f" at most {200 * LEVEL:g} %. A run with --sequential may be extended and stays one try"
    )
    return [wrapped("earlier   ", text)]


def nodes_text(nodes: Mapping[str, Any]) -> str:
    """The nodes that stay fp32, or else the first of the ranking, with the flips that each removes."""
    kept = [row for row in nodes["rows"] if row["kept"]]
    named = ", ".join(node_text(row, nodes["flips"]) for row in kept or nodes["rows"][:1])
    return f"{'kept in fp32' if kept else 'first of the ranking'}: {named}"


def node_text(row: Mapping[str, Any], flips: int) -> str:
    """A node and its module, and how many flips disappear when it alone stays fp32."""
    scope = f" ({row['scope']})" if row["scope"] else ""
    removed = "" if row["removed"] is None else f": {row['removed']} of {flips} flips"
    return f"{row['node']}{scope}{removed}"


def share(side: Mapping[str, Any]) -> str:
    """Percent with its interval."""
    return f"{percent(side['accuracy'])} {percent_interval(*side['interval'])}"


def flips(item: Mapping[str, Any]) -> str:
    """Samples only the engine gets right, and samples it loses."""
    return f"+{item['only_engine']} / -{item['only_reference']}"


def drop(item: Mapping[str, Any]) -> str:
    """Points lost on the engine, with their interval."""
    return f"{percent(item['drop'])} {percent_interval(*item['interval'])}"


def checks_lines(report: Mapping[str, Any]) -> list[str]:
    """Number of checks that passed, failed and were skipped; below, the names of those that did not pass."""
    counts = tally(report)
    lines = [f"checks  {counts['pass']} passed, {counts['fail']} failed, {counts['skipped']} skipped"]
    failed = [check_detail(check) for check in report["checks"] if check["status"] == "fail"]
    reasons: dict[str, list[str]] = {}
    for check in report["checks"]:
        if check["status"] == "skipped":
            reasons.setdefault(check["why"] + ("" if check["required"] else ", advisory"), []).append(check["name"])
    lines += [wrapped("        failed   ", detail) for detail in failed]
    lines += [wrapped("        skipped  ", f"{', '.join(names)}: {why}") for why, names in reasons.items()]
    return lines


def check_detail(check: Mapping[str, Any]) -> str:
    """A check that failed, in short."""
    advisory = "" if check["required"] else ", advisory"
    measured = "not finite" if check["measured"] is None else f"{check['measured']:.4g}"
    return f"{check['name']}: {measured}, limit {check['limit']}{advisory}"


def verdict_lines(report: Mapping[str, Any]) -> list[str]:
    """The verdict in capitals, and each reason on its own line."""
    word = VERDICT[report["verdict"]]
    reasons = report["reasons"] or [settled(report)]
    return [wrapped(f"{word if i == 0 else ' ' * len(word)}  ", reason) for i, reason in enumerate(reasons)]


def settled(report: Mapping[str, Any]) -> str:
    """The reason for a pass in a report without reasons."""
    drops = ", ".join(f"{item['name']} drop {drop(item)}" for item in report["comparisons"] if item["decides"])
    return f"{drops}: below {100 * report['margin']:g} points; every required check passed"


class Finding(Protocol):
    """One value of a report, compared with what it should be."""

    @property
    def name(self) -> str:
        """Name of the value."""

    @property
    def status(self) -> str:
        """`ok`, `wrong` or `unchecked`."""

    @property
    def found(self) -> str:
        """The value in the document."""

    @property
    def expected(self) -> str:
        """The value it should have; empty if unknown."""

    @property
    def where(self) -> str:
        """The place in the document."""


def render_findings(findings: Sequence[Finding]) -> str:
    """One line per finding, more if it is wrong or unchecked, and last the number of each."""
    width = min(max((len(clipped(item.name, NAME_WIDTH)) for item in findings), default=0), NAME_WIDTH)
    lines = [line for item in findings for line in finding_lines(item, width)]
    counts = Counter(item.status for item in findings)
    return "\n".join([*lines, "", ", ".join(f"{counts[status]} {status}" for status in FINDING)])


def finding_lines(item: Finding, width: int) -> list[str]:
    """Status and name; if not ok, the place and both values below."""
    first = f"{FINDING[item.status]:9}  {clipped(item.name, NAME_WIDTH):{width}}  "
    if item.status == "ok":
        return [wrapped(first, item.where)]
    indent = " " * 11
    lines = [wrapped(first, item.where), wrapped(f"{indent}found     ", item.found)]
    return [*lines, wrapped(f"{indent}expected  ", item.expected)] if item.expected else lines
