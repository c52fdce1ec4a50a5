"""Opening the bundle and its engine. No engine is ever built here: what does not fit is refused, with the command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.robot.diagnosis import Diagnosis, Level
from advcal_edge.robot.settings import NodeSettings
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.engine import fits_here, plan_metadata
from advcal_edge.runtime.engine_file import is_plan
from advcal_edge.runtime.service import open_service


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """An engine that runs, and what must be said of it."""

    settings: NodeSettings
    embedder: Embedder
    bundle: str
    """Hash of the calibration, 12 digits: exports and reports do not change it."""
    passed_over: str = ""
    """A plan of the bundle that `auto` left out, since it was made for another machine."""

    @property
    def reservation(self) -> Diagnosis | None:
        """What speaks against this engine, though it runs."""
        path, engine = self.settings.bundle, self.embedder.runner.path
        if not self.embedder.verified:
            selftest = self.embedder.selftest
            why = "has no passing report" if selftest is None else f"is {selftest.reservation}"
            return Diagnosis(
                Level.WARN, f"the engine `{engine.name}` {why}", f"`{command('verify', path, '--engine', engine)}`"
            )
        if self.passed_over:
            return Diagnosis(
                Level.WARN,
                f"the plan {self.passed_over}; `{engine.name}` runs instead",
                f"`{command('export', path, '--trt')}`",
            )
        return None

    def identity(self) -> dict[str, Any]:
        """What runs, as it is published once and kept for whoever comes later."""
        rule = self.embedder.rule
        return {
            "fingerprint": self.embedder.fingerprint,
            "bundle": self.bundle,
            "verified": self.embedder.verified,
            "selftest": None if self.embedder.selftest is None else self.embedder.selftest.status,
            "abstention": None if rule is None else rule.to_json(),
            "modality": self.embedder.modality.name,
            "labels": list(self.embedder.labels),
        }

    def identity_text(self) -> str:
        """The same as JSON."""
        return json.dumps(self.identity())

    def facts(self) -> dict[str, str]:
        """What diagnostics show of it."""
        rule, selftest = self.embedder.rule, self.embedder.selftest
        unverified = "no" if selftest is None else f"no, {selftest.status}"
        return {
            "engine": self.embedder.fingerprint,
            "bundle": f"{self.settings.bundle} {self.bundle}",
            "verified": "yes" if self.embedder.verified else unverified,
            "self-test": "not made" if selftest is None else str(selftest),
            "unsure below": "no rule" if rule is None else f"a margin of {rule.threshold:.4f}, alpha {rule.alpha:g}",
        }


def open_engine(settings: NodeSettings) -> Opened:
    """Open what the parameters name: hashes are checked, the report is judged, the engine runs and is self-tested.

    Raises:
        AdvcalError: as for `Embedder.load`; of a plan for another machine with the command that builds one for this.
    """
    embedder = open_service(
        settings.bundle,
        settings.engine,
        require_verified=settings.require_verified,
        selftest=settings.selftest,
        accept_retested=settings.accept_retested,
        accept="`--ros-args -p accept_retested:=true`",
        threads=settings.threads or None,
    )
    bundle = Bundle.open(settings.bundle)
    passed_over = "" if settings.engine != "auto" or is_plan(embedder.runner.path) else plan_left_out(bundle)
    return Opened(settings, embedder, bundle.origin()[:12], passed_over)


def plan_left_out(bundle: Bundle) -> str:
    """Which forward plan of the bundle does not run on this machine, and for which one it was made; else empty."""
    for name, metadata in plan_metadata(bundle).items():
        if metadata.kind == "forward" and not fits_here(metadata):
            made_for = f"for {metadata.device}" if metadata.device else f"by {metadata.product}"
            return f"`{name}` was built {made_for} and does not run here"
    return ""
