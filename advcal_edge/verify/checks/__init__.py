"""The sanity checks of `verify`, one theme per file; `docs/verify.md` explains each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from advcal_edge.stats import MARGIN
from advcal_edge.verify.check import CHECKS, Check, CheckDefinition, Stage


def registered(stage: Stage | None = None) -> list[CheckDefinition]:
    """All checks, or those of one stage, in the order of a report."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    stages: tuple[Stage, ...] = ("engine", "results")
    found = sorted(CHECKS.values(), key=lambda definition: (stages.index(definition.stage), definition.order))
    return [definition for definition in found if stage in (None, definition.stage)]


def run_checks(stage: Stage, facts: Mapping[str, Any], margin: float = MARGIN) -> list[Check]:
    """Run every check of a stage on the facts that it asks for."""
    return [
        definition(**{name: facts[name] for name in definition.needs}, margin=margin)
        for definition in registered(stage)
    ]
