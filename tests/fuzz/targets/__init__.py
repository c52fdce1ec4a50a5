"""Every kind of hostile input there is, by name."""

from __future__ import annotations

from fuzz.case import Target
from fuzz.targets import bundles, files, graphs, layouts, planted, sensors, settings

TARGETS: dict[str, Target] = {
    target.name: target for module in (bundles, files, graphs, settings, layouts, sensors) for target in module.TARGETS
}

PLANTED: dict[str, Target] = {target.name: target for target in planted.TARGETS}
"""Defects on purpose, which the watch must see."""
