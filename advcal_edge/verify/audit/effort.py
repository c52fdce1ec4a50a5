"""The budget of a report, held against the attacks that its routes name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from advcal_edge.verify.audit.finding import Finding, merged, ok, wrong
from advcal_edge.verify.audit.recount import Route
from advcal_edge.verify.audit.stated import Stated

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "PGD": {"steps": "pgd_steps"},
    "APGD": {"steps": "apgd_steps", "restarts": "apgd_restarts"},
    "TargetedAPGD": {"steps": "apgd_steps"},
    "Square": {"queries": "square_queries"},
    "RayS": {"queries": "label_queries"},
}
"""By attack: which of its settings is which key of the budget."""
NUMBERS = (
    "pgd_steps",
    "pgd_restarts",
    "apgd_steps",
    "apgd_restarts",
    "targets",
    "difference_steps",
    "square_queries",
    "label_queries",
)


def effort_findings(report: Stated, routes: Sequence[Route]) -> list[Finding]:
    """Steps, restarts and queries of the attacks are those of the budget, and so are the losses of APGD.

    Raises:
        BundleError: malformed.
    """
    budget, findings = report["budget"], []
    budget["name"].text()
    listed = [item.text() for item in budget["losses"].items()]
    numbers = {key: budget[key].integer() for key in NUMBERS}
    losses = set()
    for stated, route in zip(report["routes"].items(), routes, strict=True):
        name, settings = parts(route.attack)
        if name == "APGD" and "loss" in settings:
            losses.add(settings["loss"])
        for setting, key in SETTINGS.get(name, {}).items():
            key = "difference_steps" if route.route == "difference" and setting == "steps" else key
            if setting in settings and settings[setting] != str(numbers[key]):
                findings.append(wrong("budget", stated["attack"], f"{setting}={numbers[key]}, the budget's {key}"))
    if losses and losses != set(listed):
        findings.append(wrong("budget", budget["losses"], f"those of APGD in the routes: {', '.join(sorted(losses))}"))
    return merged(findings, ok("budget", budget["name"]))


def parts(attack: str) -> tuple[str, dict[str, str]]:
    """`APGD(steps=10, loss='ce')` as its name and settings."""
    name, _, inside = attack.partition("(")
    return name, dict(re.findall(r"\b(\w+)='?([^,')]*)", inside))
