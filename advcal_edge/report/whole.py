"""Is a report whole? Every member that `verify` always writes, of the right kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from advcal_edge.bundle import REPORT_SCHEMA
from advcal_edge.errors import BundleError
from advcal_edge.report.measured import BUILD, IDENTITY
from advcal_edge.report.value import Value

HASHES = ("engine", "graph", "gradient", "bundle", "data", "centers", "environment")
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "engine": ("path", "listed", "precision", "sha256", "bytes", "fingerprint", "gradient"),
    "reference": ("kind", "fingerprint"),
    "threat": ("norm", "eps", "bounds"),
    "hashes": HASHES,
}
"""Members of objects in `measured`; what `Measured` and `contradictions` read is not repeated here."""


def read_schema(report: Value) -> None:
    """Refuse a document that is no report of this version.

    Raises:
        BundleError: no schema, or another one.
    """
    schema = report["schema"].text()
    if schema != REPORT_SCHEMA:
        raise BundleError(
            f"the report has schema `{schema[:60]}`; this version reads `{REPORT_SCHEMA}`",
            hint="verify again, or install the version of advcal-edge that wrote it",
        )


def check_whole(report: Value) -> None:
    """Refuse a report in which anything is missing that `verify` always writes, or is of another kind.

    Raises:
        BundleError: the message names what is missing.
    """
    read_schema(report)
    report.only("schema", "measured", "derived")
    measured = report["measured"]
    report["derived"].object()
    for name in dict.fromkeys((*IDENTITY, *BUILD)):
        measured[name]  # raises if it is missing
    for name, members in REQUIRED.items():
        for member in members:
            measured[name][member]
    read_identity(measured)


def read_identity(measured: Value) -> None:
    """Refuse members of another kind among those that nothing is computed from."""
    engine, hashes = measured["engine"], measured["hashes"]
    for name in ("path", "precision", "fingerprint"):
        engine[name].text()
    for value in (measured["seed"], engine["bytes"]):
        value.integer()
    at_least(measured["expectation"], Value.integer, 1)
    at_least(measured["seconds"], Value.number, 0)
    engine["listed"].truth()
    for item in measured["sources"].items():
        item["kind"].text(), item["fingerprint"].text()
    for name in HASHES:
        if name != "gradient" or hashes[name].value is not None:
            hashes[name].sha256()
    measured["context"].object()


def at_least(value: Value, read: Callable[[Value], Any], least: int) -> None:
    """Refuse a smaller number."""
    if read(value) < least:
        raise value.expected(f"{least} or more")
