"""`advcal-edge attest`: sign what the reports of a bundle show, and the bundle itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import BundlePath, Json
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError

if TYPE_CHECKING:
    from advcal_edge.verify.attest import Attestation

PASSPHRASE = "ADVCAL_KEY_PASSPHRASE"  # noqa: S105  # the name of a variable


def attest(
    bundle: BundlePath,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            help="Private key in PEM, ECDSA on P-256, P-384 or P-521; its passphrase is asked for, or taken from"
            f" {PASSPHRASE}. Without a key nothing is signed or written.",
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Sign what the reports of a bundle show, and the bundle itself.

    Writes attestations/ENGINE.intoto.jsonl (in-toto statements in DSSE envelopes) for each report that holds, and
    model.sig (OpenSSF model signing) over every file. Sign last: whatever changes afterwards is refused.
    """
    from advcal_edge.attestation import PrivateKey
    from advcal_edge.bundle import Bundle
    from advcal_edge.manifest import SIGNATURE
    from advcal_edge.verify.attest import attest as sign, draft, refuse_key_inside

    console = Console(json_output=json_output)
    opened = Bundle.open(bundle)
    if key is None:
        found = draft(opened)
    else:
        refuse_key_inside(bundle, key)
        private = PrivateKey.read(key, ask)
        console.say(f"attest  {bundle}  with the key {private.public.hint[:12]}")
        found = sign(opened, private)
    console.result(rows(found))
    for name, why in found.left_out.items():
        console.say(f"left out, since it does not hold: {name}: {why}")
    console.document(
        {
            "signed": key is not None,
            "key": None if key is None else private.public.hint,
            "attested": [
                {
                    "report": item.report,
                    "engine": item.engine,
                    "result": item.result,
                    "statements": [statement.to_json() for statement in item.statements],
                }
                for item in found.attested
            ],
            "left_out": dict(found.left_out),
        }
    )
    if key is None:
        console.say("nothing was signed or written: no `--key`; `--json` prints the statements")
        console.next(command("attest", bundle, "--key", "KEY.pem"))
    else:
        reports = len(found.attested) + len(found.left_out)
        console.say(f"wrote {bundle / SIGNATURE}, which signs every other file")
        console.say(f"attested {len(found.attested)} of {reports} reports in {bundle / 'attestations'}")
        first = bundle / found.attested[0].report
        console.next(command("verify", "--check", first, "--public-key", "KEY.pub.pem"))


def rows(found: Attestation) -> str:
    """One row per report: engine, result, and how many tests passed, warned and failed."""
    from advcal_edge.report.table import table

    lines = []
    for item in found.attested:
        said = item.statements[0].predicate
        counts = [str(len(said[f"{kind}Tests"])) for kind in ("passed", "warned", "failed")]
        precision = item.statements[1].predicate["engine"]["precision"]
        lines.append((f"{item.engine[:8]} ({precision})", item.result, "/".join(counts), item.report))
    return table(("engine", "result", "passed/warned/failed", "report"), lines)


def ask() -> str:
    """The passphrase of the key: from the environment, else from the person at the terminal.

    Raises:
        ConfigError: neither.
    """
    given = os.environ.get(PASSPHRASE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise ConfigError("the key is encrypted, and nobody is there to ask", hint=f"set {PASSPHRASE}")
    return str(typer.prompt("passphrase of the key", hide_input=True, err=True))
