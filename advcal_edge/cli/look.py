"""`advcal-edge look`: see how a sensor's file is read, what was understood, and what the encoder gets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.decoders import keep_decoders_quiet
from advcal_edge.cli.options import MODALITIES, AssumeUnits, Json
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError

if TYPE_CHECKING:
    from advcal_edge.look import Sight
    from advcal_edge.spec import Modality
    from advcal_edge.threat import ThreatModel


def look(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Frames or recordings of one sensor.")],
    modality: Annotated[
        str | None, typer.Option("--modality", help=f"Sensor: {MODALITIES}; default: the bundle's.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Read as this bundle does; default: as the embedded encoder does.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, like `input.depth_scale=tum`.")
    ] = None,
    assume_units: AssumeUnits = False,
    out: Annotated[Path, typer.Option("--out", help="Page to write, or with the suffix .png one picture.")] = Path(
        "look.html"
    ),
    json_output: Json = False,
) -> None:
    """See how files of a sensor are read: the frame, what was understood, and what the encoder gets.

    Exits with 2 if a file is refused; the page shows why.
    """
    from advcal_edge.look import look as look_at
    from advcal_edge.look.written import write_look

    keep_decoders_quiet()
    console = Console(json_output=json_output)
    sensor, usual, threat, declared = choose(modality, bundle, settings or [], assume_units=assume_units)
    read_by = "the embedded encoder" if bundle is None else f"`{bundle}`"
    console.say(f"look  {len(files)} file{'s' * (len(files) > 1)}  {sensor.name}  as {read_by} reads it  {threat}")
    sights = [look_at(file, sensor, threat, usual, declared) for file in files]
    console.result("\n\n".join(text(sight) for sight in sights))
    replaced = write_look(out, sights)
    console.document(
        {
            "modality": sensor.to_json(),
            "threat": threat.to_json(),
            "files": [s.to_json() for s in sights],
            "out": str(out),
        }
    )
    console.say(f"{'replaced' if replaced else 'wrote'} {out}")
    refused = [sight for sight in sights if sight.refusal is not None]
    if refused:
        console.say(f"refused: {len(refused)} of {len(sights)}")
        raise typer.Exit(2)
    if bundle is None:
        given = [word for setting in settings or [] for word in ("--set", setting)]
        given += ["--set", "input.assume_units=yes"] if assume_units else []
        console.next(command("calibrate", "--modality", sensor.name, "--data", "FOLDER", *given))


def choose(
    name: str | None, bundle: Path | None, settings: Sequence[str], *, assume_units: bool = False
) -> tuple[Modality, Modality, ThreatModel, Collection[str]]:
    """The sensor, its usual settings, the threat model, and the names of the settings that were given here.

    Raises:
        ConfigError: neither a sensor nor a bundle, two sensors, or a setting that is not one of the sensor's.
        BundleError: the bundle cannot be opened.
    """
    from advcal_edge.bundle import Bundle
    from advcal_edge.calibrate.config import CalibrateConfig
    from advcal_edge.cli.sensor_settings import read_sensor_settings
    from advcal_edge.encoders.bindlite.encoder import MODALITIES as USUAL

    opened = None if bundle is None else Bundle.open(bundle)
    if opened is None and name is None:
        raise ConfigError(
            "neither `--modality` nor `--bundle` says which sensor this is", hint=f"`--modality` is one of {MODALITIES}"
        )
    if opened is not None and name not in (None, opened.modality.name):
        raise ConfigError(
            f"`--modality {name}`, but `{bundle}` is of `{opened.modality.name}`", hint="leave out `--modality`"
        )
    declared = read_sensor_settings(settings, assume_units=assume_units)
    if opened is not None:
        sensor, threat = opened.modality, opened.threat
    else:
        config = CalibrateConfig(modality=str(name))
        sensor = USUAL[config.modality]
        threat = config.threat_model(sensor.input)
    return sensor.with_settings(declared), USUAL.get(sensor.name, sensor), threat, frozenset(declared)


def text(sight: Sight) -> str:
    """The facts of one file, a line each."""
    from advcal_edge.report.table import one_line, wrapped

    lines = [one_line(sight.path)]
    if sight.refusal is not None:
        lines.append(wrapped("  refused: ", sight.refusal.message))
        lines += [wrapped("  hint: ", sight.refusal.hint)] if sight.refusal.hint else []
    for heading, facts in (*sight.understood(), *sight.given()):
        lines.append(f"  {heading}")
        for name, value, *origin in facts:
            lines.append(wrapped(f"    {one_line(name):<22}  ", " ".join([value, *(f"({word})" for word in origin)])))
    return "\n".join(lines)
