"""`advcal-edge trust`: allow one bundle to load the code and weights that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import BundlePath, Json

if TYPE_CHECKING:
    from advcal_edge.consent import Wants


def trust(
    bundle: BundlePath,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Stop trusting this bundle.")] = False,
    json_output: Json = False,
) -> None:
    """Allow a bundle to run the encoder code and read the weights that its manifest names.

    Stored in the user's configuration folder. A bundle whose calibration differs in one byte is a different bundle.
    """
    from advcal_edge import consent
    from advcal_edge.bundle import Bundle

    console = Console(json_output=json_output)
    opened = Bundle.open(bundle)
    if withdraw:
        known, wants = consent.withdraw(opened), consent.Wants.of(opened)
        console.result(f"{bundle} is no longer trusted" if known else f"{bundle} was not trusted")
    else:
        wants = consent.trust(opened)
        console.result("\n".join(wishes(wants)) or "nothing to trust: it loads no foreign code and no file outside it")
        console.say(f"bundle {wants.bundle}")
    trusted = not (withdraw or wants.nothing)
    console.document({"bundle": wants.bundle, "code": wants.code, "weights": wants.weights, "trusted": trusted})


def wishes(wants: Wants) -> list[str]:
    """What a bundle may load now, one line each."""
    permissions = {"may run the code": wants.code, "may read the weights": wants.weights}
    return [f"{what} {name}" for what, name in permissions.items() if name is not None]
