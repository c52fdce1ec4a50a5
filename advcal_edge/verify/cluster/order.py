"""What a worker is told: the run that it is to take part in, where the bundle is, and what the user allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.consent import Consent, read_trust
from advcal_edge.storage import sha256_bytes
from advcal_edge.verify.options import VerifyOptions


@dataclass(frozen=True, slots=True)
class Order:
    """One run, told to every worker alike."""

    run: Mapping[str, Any]
    """`run.json` of where the run was started: models, samples, budget, versions."""
    options: VerifyOptions
    bundle: Path | None
    """The bundle's folder on this machine; None if it comes in a parcel."""
    parcel: str | None = None
    """Hash of the parcel, if the bundle comes in one."""
    engine: str | None = None
    """Name in the parcel of the engine to verify, if one was named."""

    def to_text(self) -> str:
        """As JSON, so that a worker of another version can read enough of it to refuse."""
        consent = self.options.consent
        return json.dumps(
            {
                "run": self.run,
                "options": self.options.to_json(),
                "device": self.options.device,
                "consent": {
                    "encoder": consent.encoder,
                    "weights": None if consent.weights is None else str(consent.weights),
                    "plan_code": consent.plan_code,
                },
                "bundle": None if self.bundle is None else str(self.bundle),
                "parcel": self.parcel,
                "engine": self.engine,
            },
            sort_keys=True,
            allow_nan=False,
        )

    @classmethod
    def read(cls, text: str) -> Order:
        """Read what `to_text` wrote.

        Raises:
            ConfigError: options of another version.
        """
        told = json.loads(text)
        allowed = told["consent"]
        weights = None if allowed["weights"] is None else Path(allowed["weights"])
        consent = Consent(allowed["encoder"], weights, allowed["plan_code"])
        options = replace(VerifyOptions.from_json(told["options"], consent), device=told["device"])
        bundle = None if told["bundle"] is None else Path(told["bundle"])
        return cls(told["run"], options, bundle, told["parcel"], told["engine"])


def order_for(
    run: Mapping[str, Any], bundle: Bundle, options: VerifyOptions, parcel: bytes | None, engine: str | None
) -> Order:
    """The order of a run; what the user has trusted before is said in it, since other machines do not know."""
    trusted = read_trust(bundle.origin())
    if trusted is not None:
        consent = options.consent
        known = replace(consent, encoder=consent.encoder or trusted.encoder, weights=consent.weights or trusted.weights)
        options = replace(options, consent=known)
    if parcel is None:
        return Order(run, options, bundle.path.resolve())
    return Order(run, options, None, sha256_bytes(parcel), engine)
