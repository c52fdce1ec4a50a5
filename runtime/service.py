"""Opening an engine as a program that serves does at its start, with the self-test that is stored of it."""

from __future__ import annotations

from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.expectations import selftest_name
from advcal_edge.runtime.embedder import Embedder


def open_service(
    bundle: str | Path,
    engine: str,
    *,
    require_verified: bool,
    selftest: bool,
    accept_retested: bool,
    accept: str,
    threads: int | None = None,
) -> Embedder:
    """The embedder of a bundle; with `selftest` what `verify` stored of the engine is replayed, if it did.

    An engine that was verified elsewhere is refused where a passing report is required, unless `accept_retested`;
    `accept` says in the refusal how that is asked for.

    Raises:
        AdvcalError: as for `Embedder.load`.
    """
    embedder = Embedder.load(
        bundle,
        engine,
        "retested" if accept_retested else require_verified,
        threads=threads,
        selftest=accept_retested,
    )
    opened = Bundle.open(bundle)
    if accept_retested or not selftest or not opened.has(selftest_name(embedder.runner.sha256)):
        return embedder
    embedder = embedder.self_tested(opened)
    if require_verified and embedder.selftest is not None:
        embedder.selftest.require_verified(embedder.runner.path, opened.path, accept)
    return embedder
