"""Options that several commands share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from advcal_edge import spec

MODALITIES = ", ".join(f"`{name}`" for name in spec.MODALITIES)
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that `calibrate` or `demo` wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of tables.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random in this command.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Where the encoder's checkpoint is now, if not where `calibrate` found it."),
]
AllowPlanCode = Annotated[
    bool,
    typer.Option("--allow-plan-code", help="Open plans that carry code of their own, which opening them executes."),
]

EncoderCode = Annotated[
    str | None,
    typer.Option("--encoder", help="Let the bundle run this encoder's code, which it names: `package.module:factory`."),
]


def terms(license_name: str) -> str:
    """What the user must know of the encoder's license, in one line."""
    note = "; what is made of them inherits its terms" if license_name != "Apache-2.0" else ""
    return f"encoder weights: license {license_name}{note}"
