"""Render the result of `inspect` as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from advcal_edge.declarations import DECLARATIONS
from advcal_edge.report.table import percent, printable, table


def render(data: Mapping[str, Any]) -> str:
    """The description of a bundle as blocks of aligned tables; sections that are missing are left out."""
    graphs = [
        (
            name,
            str(g.get("precision", "?")),
            str(g.get("kind", "?")),
            megabytes(g["bytes"]),
            g["sha256"][:8],
            inline(g.get("fidelity")),
        )
        for name, g in data["graphs"].items()
    ]
    plans = [
        (
            name,
            f"{p['precision']} -> {p['achieved']} ({p['evidence']})",
            p["kind"],
            megabytes(p["bytes"]),
            p["product"],
            "any" if p["device"] is None else p["device"]["name"],
            "yes" if p["current"] else "no",
        )
        for name, p in data["plans"].items()
    ]
    reports = [
        (
            name,
            str(r["verdict"]),
            r["graph"] or "a graph that is not in this bundle",
            "stored" if r["selftest"] else "-",
            sure_above(r["abstention"]),
        )
        for name, r in data["reports"].items()
    ]
    blocks = (
        facts(data),
        render_metrics(data["metrics"]),
        table(("graph", "precision", "kind", "size", "sha256", "fidelity"), graphs) if graphs else "",
        "\n".join(f"{printable(name)} not made: {printable(reason)}" for name, reason in data["missing"].items()),
        table(("plan", "asked -> achieved", "kind", "size", "product", "device", "of this graph"), plans)
        if plans
        else "",
        table(("report", "verdict", "engine", "self-test", "sure above"), reports) if reports else "",
    )
    return "\n\n".join(block for block in blocks if block)


def sure_above(rule: Mapping[str, float | None] | None) -> str:
    """The margin above which answers are sure, and the share of them that may be wrong."""
    if rule is None:
        return "-"
    threshold = "nowhere" if rule["threshold"] is None else f"{rule['threshold']:.4f}"
    return f"{threshold} (alpha {rule['alpha']:g})"


def facts(data: Mapping[str, Any]) -> str:
    """One line for each part of a bundle."""
    modality, centers, samples = data["modality"], data["centers"], data["samples"]
    lines = {
        "bundle": data["path"],
        "compares": inline(data["comparison"]),
        "encoder": inline(data["encoder"]),
        "would load": would_load(data["wants"]),
        "modality": modality and f"{modality['name']}  {inline(modality['input'])}",
        "sensor": modality and inline(unequal(modality["settings"], declared=False)),
        "declared": modality and declarations(modality["settings"]),
        "threat": inline(data["threat"]),
        "adapter": inline(data["adapter"]),
        "centers": centers
        and f"{len(centers['labels'])} labels from {centers['source']}: {', '.join(centers['labels'])}",
        "samples": ", ".join(f"{count} {name}" for name, count in samples.items()),
    }
    width = max(map(len, lines))
    return "\n".join(f"{name.ljust(width)}  {printable(text)}" for name, text in lines.items() if text)


def unequal(settings: Mapping[str, Any], *, declared: bool) -> dict[str, Any]:
    """Settings of a sensor: declared ones that are not as by default, or all others."""
    if not declared:
        return {name: value for name, value in settings.items() if name not in DECLARATIONS}
    return {n: value for n, value in settings.items() if n in DECLARATIONS and value != DECLARATIONS[n].default}


def declarations(settings: Mapping[str, Any]) -> str:
    """What was declared of a sensor; empty if nothing can be."""
    found = unequal(settings, declared=True)
    return inline(found) or ("nothing: units are the usual ones" if DECLARATIONS.keys() & settings.keys() else "")


def would_load(wants: Mapping[str, Any]) -> str:
    """What the bundle needs from outside, and whether it is allowed."""
    asked = [f"{name} {wants[name]}" for name in ("code", "weights") if wants[name] is not None]
    allowed = "trusted on this machine" if wants["trusted"] else "not allowed unless you name it or trust the bundle"
    return f"{', '.join(asked)}: {allowed}" if asked else "nothing from elsewhere"


def render_metrics(metrics: object) -> str:
    """Accuracies in percent, one row per measured model; empty without metrics."""
    if not isinstance(metrics, dict):
        return ""
    measured = {name: found for name, row in metrics.items() if (found := accuracies(row))}
    if not measured:
        return ""
    columns = list(dict.fromkeys(column for row in measured.values() for column in row))
    rows = [(name, *(percent(row[c]) if c in row else "-" for c in columns)) for name, row in measured.items()]
    return table((f"accuracy %, n {metrics.get('n', '?')}", *columns), rows)


def accuracies(row: object) -> dict[str, float]:
    """The fractions in one row of the metrics, by column."""
    cells = row.items() if isinstance(row, dict) else ()
    shares = {column: cell.get("accuracy") for column, cell in cells if isinstance(cell, dict)}
    return {column: accuracy for column, accuracy in shares.items() if isinstance(accuracy, float)}


def inline(section: object) -> str:
    """The plain values of an object on one line."""
    if not isinstance(section, dict):
        return "" if section is None else str(section)
    return "  ".join(
        f"{key} {shown(value)}" for key, value in section.items() if value is not None and not isinstance(value, dict)
    )


def shown(value: object) -> str:
    """One value, hashes shortened and numbers to four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"({', '.join(map(shown, value))})"
    text = str(value)
    return text[:12] if len(text) == 64 and set(text) <= set("0123456789abcdef") else text


def megabytes(size: int) -> str:
    """A file size in readable units."""
    return f"{size / 1e6:.2f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
