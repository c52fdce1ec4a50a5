"""What a report repeats of a plan's card, held against the card that the bundle keeps."""

from __future__ import annotations

from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.runtime.plan_card import PlanCard, card_path, read_card
from advcal_edge.verify.audit.finding import Finding, hold, merged, ok, unchecked
from advcal_edge.verify.audit.stated import Stated


def plan_findings(report: Stated, bundle: Bundle) -> list[Finding]:
    """Product, version, device, graph and precision; and hashes, which must be those the report gives elsewhere.

    Raises:
        BundleError: malformed, or the card in the bundle is damaged.
    """
    engine, hashes = report["engine"], report["hashes"]
    if not engine.has("plan"):
        return []
    plan = engine["plan"]
    findings = hold("plan", plan["graph_sha256"], hashes["graph"].text())
    if plan["backward_sha256"].value is not None:
        findings += hold("plan", plan["backward_sha256"], hashes["gradient"].text())
    card = listed_card(bundle, Path(engine["path"].text()))
    if card is None:
        return [*findings, unchecked("plan", plan["graph"], "a plan whose card the bundle does not list")]
    findings += hold("plan", plan["product"], card.product)
    findings += hold("plan", plan["version"], list(card.version))
    findings += hold("plan", plan["device"], None if card.device is None else str(card.device))
    findings += hold("plan", plan["graph"], card.graph)
    findings += hold("plan", plan["graph_sha256"], card.graph_sha256)
    findings += hold("plan", plan["asked"], card.precision)
    findings += hold("plan", plan["evidence"], card.evidence)
    findings += hold("plan", engine["precision"], card.achieved)
    return merged(findings, ok("plan", plan["graph_sha256"]))


def listed_card(bundle: Bundle, plan: Path) -> PlanCard | None:
    """The card of a plan that the bundle lists; None where it lists none."""
    name = card_path(plan).as_posix()
    if not bundle.has(name):
        return None
    try:
        return read_card(bundle.file(name).with_suffix(plan.suffix))
    except AdvcalError as error:
        raise BundleError(error.message, hint=error.hint) from error
