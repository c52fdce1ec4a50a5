"""`advcal-edge doctor`: which backends work on this machine, and what to install for the others."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import Json
from advcal_edge.report.table import one_line

ESSENTIAL = ("cpu", "calibrate", "export")  # needed to go from sensor data to a verified engine


class Capability(str, Enum):
    """Tasks that a machine may be checked for."""

    RUN = "run"
    CALIBRATE = "calibrate"
    EXPORT = "export"
    VERIFY = "verify"
    TRT = "trt"
    ROS = "ros"


def doctor(
    wanted: Annotated[
        Capability | None, typer.Option("--for", help="Exit with 1 if this machine cannot do this; default: always 0.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Try every backend and show what works, what is missing, and how to install it."""
    from advcal_edge.cli.probes import CAPABILITIES, EXTRAS, PROBES, probe
    from advcal_edge.provenance import environment

    console = Console(json_output=json_output)
    machine = environment()
    console.say(f"doctor  python {machine['python']}  {machine['processor']}, {machine['cores']} cores")
    findings = {}
    for done, name in enumerate(PROBES, 1):
        findings[name] = probe(name)
        console.progress("probe", done, len(PROBES))
    extras = {extra: all(findings[name].works for name in needed) for extra, needed in EXTRAS.items()}
    able = {capability: all(findings[name].works for name in needed) for capability, needed in CAPABILITIES.items()}
    mending = {extra: None if ready else install(extra) for extra, ready in extras.items()}
    console.result(
        "\n\n".join(
            (
                listing([(f.name, "works" if f.works else "fails", f.detail) for f in findings.values()]),
                listing([(f"[{e}]", "ready" if ready else "missing", mending[e] or "") for e, ready in extras.items()]),
                listing([(name, "possible" if works else "impossible", "") for name, works in able.items()]),
            )
        )
    )
    console.document(
        {
            "environment": machine,
            "probes": {f.name: {"works": f.works, "detail": f.detail} for f in findings.values()},
            "extras": {extra: {"ready": ready, "install": mending[extra]} for extra, ready in extras.items()},
            "capabilities": able,
        }
    )
    missing = [command for extra, command in mending.items() if command and extra in ESSENTIAL]
    console.next(missing[0] if missing else "advcal-edge demo")
    if wanted is not None and not able[wanted.value]:
        broken = [findings[name] for name in CAPABILITIES[wanted.value] if not findings[name].works]
        console.say(f"cannot {wanted.value} here: {'; '.join(f'{f.name}: {f.detail}' for f in broken)}")
        raise typer.Exit(1)


def install(extra: str) -> str:
    """The command that installs an extra."""
    from advcal_edge.provenance import package_version

    if extra == "ros":  # its wheels add to the start of every Python of their environment
        return "where apt has no ROS, an environment of its own: pip install 'advcal-edge[cpu,ros]'"
    command = f"pip install 'advcal-edge[{extra}]'"
    # both distributions install the module `onnxruntime`, and the second one breaks the first
    return (
        f"pip uninstall onnxruntime && {command}"
        if extra == "gpu" and package_version("onnxruntime") is not None
        else command
    )


def listing(rows: list[tuple[str, str, str]]) -> str:
    """Three columns of text, left-aligned, with the state in the middle."""
    return "\n".join(f"{name:12}  {state:10}  {one_line(detail)}".rstrip() for name, state, detail in rows)
