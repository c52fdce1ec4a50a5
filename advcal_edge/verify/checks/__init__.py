"""The sanity checks of `verify` that are measured on an engine, one theme per file; `docs/verify.md` explains each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from advcal_edge.report.checks import RULES, Check
from advcal_edge.verify.check import CHECKS, Measure


def registered() -> dict[str, Measure]:
    """All checks by name, in the order of a report."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return {name: CHECKS[name] for name in RULES if name in CHECKS}


def run_checks(facts: Mapping[str, Any]) -> list[Check]:
    """Run every check on the facts that it needs."""
    return [
        measure(**{name: facts[name] for name in inspect.signature(measure).parameters})
        for measure in registered().values()
    ]
