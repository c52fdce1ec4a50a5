"""Options shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advcal_edge import spec

if TYPE_CHECKING:
    from advcal_edge.runtime.interface import Interface
    from advcal_edge.runtime.model import Runner

MODALITIES = ", ".join(f"`{name}`" for name in spec.MODALITIES)
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder, written by `calibrate` or `demo`.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of tables.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Current path of the encoder's checkpoint, if it was moved after `calibrate`."),
]
AllowPlanCode = Annotated[
    bool,
    typer.Option("--allow-plan-code", help="Allow plans that contain code, which runs when they are loaded."),
]
AssumeUnits = Annotated[
    bool,
    typer.Option("--assume-units", help="Read data that contradict their unit all the same: `input.assume_units=yes`."),
]

Output = Annotated[
    str | None,
    typer.Option("--output", help="Of an engine made by others: the output with the embeddings, if it has several."),
]
Layout = Annotated[
    str | None,
    typer.Option("--layout", help="Of an engine made by others: `nchw` or `nhwc`; default: what its input declares."),
]
Scale = Annotated[
    float,
    typer.Option("--scale", help="Of an engine made by others: factor for x, 255 for pixels from 0 to 255."),
]
EncoderCode = Annotated[
    str | None,
    typer.Option("--encoder", help="Allow the bundle to run the encoder code that it names: `package.module:factory`."),
]

PublicKeyFile = Annotated[
    Path | None,
    typer.Option("--public-key", help="Public key in PEM, of whoever must have signed the bundle (see `attest`)."),
]
Sarif = Annotated[
    Path | None,
    typer.Option("--sarif", help="Also write verdicts and checks to this SARIF 2.1.0 file, for CI systems."),
]

TopicName = Annotated[str | None, typer.Option("--topic", help="Of a ROS bag: the topic with the sensor's frames.")]
Every = Annotated[
    float | None,
    typer.Option("--every", help="Of a bag: seconds from one frame or window to the next; default: all, side by side."),
]
Seconds = Annotated[
    float | None, typer.Option("--seconds", help="Of a bag: length of a window of motion, sound, video or events.")
]
Rate = Annotated[
    float | None, typer.Option("--rate", help="Of a bag: hertz of mono sound that no AudioInfo describes.")
]


def interface_arguments(interface: Interface) -> list[str]:
    """The options that lead to an interface again, for the command that is named next."""
    given = {"--output": interface.output, "--layout": interface.layout}
    scale = [] if interface.scale == 1 else ["--scale", f"{interface.scale:g}"]
    return [*(word for name, value in given.items() if value is not None for word in (name, value)), *scale]


def bridged_line(runner: Runner) -> list[str]:
    """How the engine of a runner was bridged; no line for one of our own."""
    return [f"bridged: {'; '.join(runner.backend.bridged)}"] if runner.backend.bridged else []


def terms(license_name: str) -> str:
    """What the user must know about the encoder's license, in one line."""
    note = "; what is made of them inherits its terms" if license_name != "Apache-2.0" else ""
    return f"encoder weights: license {license_name}{note}"
