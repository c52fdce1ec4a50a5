"""`advcal-edge trust`: let one bundle load what it asks for, from now on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import BundlePath, Json

if TYPE_CHECKING:
    from advcal_edge.consent import Wants


def trust(
    bundle: BundlePath,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Forget that this bundle was trusted.")] = False,
    json_output: Json = False,
) -> None:
    """Let a bundle, as it was calibrated, run the encoder code and read the weights that its manifest names.

    Kept in the user's configuration folder; a bundle whose calibration differs in one byte is another one.
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
    """What a bundle may load now, a line each."""
    found = {"may run the code": wants.code, "may read the weights": wants.weights}
    return [f"{what} {name}" for what, name in found.items() if name is not None]
