"""`advcal-edge frames`: the frames of a topic of a bag as files, to be sorted into folders of classes."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.decoders import keep_decoders_quiet
from advcal_edge.cli.options import MODALITIES, Every, Json, Rate, Seconds, TopicName
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError

if TYPE_CHECKING:
    from advcal_edge.runtime.sensors import Frame
    from advcal_edge.spec import Modality

INDEX = "index.csv"
COLUMNS = ("file", "stamp", "topic", "type", "frame")


def frames(
    bag: Annotated[Path, typer.Argument(metavar="BAG", help="ROS bag: .bag, .mcap, .db3, or the folder of one.")],
    modality: Annotated[str, typer.Option("--modality", help=f"Sensor: {MODALITIES}.")],
    out: Annotated[Path, typer.Option("--out", help="New or empty folder for the files.")],
    topic: TopicName = None,
    every: Every = None,
    seconds: Seconds = None,
    rate: Rate = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Write the frames that can be read, list the others, and exit with 1.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Write the frames of a topic of a ROS bag as files, to label them and calibrate on them.

    Units are not changed: counts stay counts. What is written before an error stays.
    """
    from advcal_edge.cli.embed_topic import Reading
    from advcal_edge.encoders.bindlite.encoder import MODALITIES as SENSORS
    from advcal_edge.runtime.bags import open_bag
    from advcal_edge.runtime.bags.frame_file import write_frame
    from advcal_edge.runtime.messages import seconds_text
    from advcal_edge.runtime.sensors.frame import describe
    from advcal_edge.storage import write_atomic

    keep_decoders_quiet()
    console = Console(json_output=json_output)
    if modality not in SENSORS:
        raise ConfigError(f"`--modality {modality}` is no sensor; expected one of {', '.join(SENSORS)}")
    check_empty(out)
    sensor = SENSORS[modality]
    rows: list[tuple[str, ...]] = []
    declared = ""
    with open_bag(bag) as opened:
        reading = Reading(topic, every, seconds, rate, skip_bad=skip_bad)
        found = reading.open(opened, sensor, console, stored=True)
        console.say(f"frames  {bag}  {found.topic}  to {out}")
        names: set[str] = set()
        for one in found:
            suffix, data = write_frame(one.frame, sensor)
            name = free_name(seconds_text(one.stamp), suffix, names)
            write_atomic(out / name, data)
            rows.append((name, seconds_text(one.stamp), found.topic.name, found.topic.kind, describe(one.frame)))
            declared = declared or unit_of(one.frame, sensor)
    if rows:
        write_atomic(out / INDEX, index(rows))
        console.say(f"wrote {len(rows)} files and {INDEX} to {out}")
    if found.whole and (rows or found.bad):
        console.document(
            {
                "file": str(bag),
                "topic": {"name": found.topic.name, "type": found.topic.kind, "messages": found.topic.count},
                "out": str(out),
                "frames": [dict(zip(COLUMNS, row, strict=True)) for row in rows],
                "skipped": [{"stamp": stamp, "error": why.message, "hint": why.hint} for stamp, why in found.bad],
            }
        )
    found.finish(len(rows), console)
    console.say(f"sort them into a folder for each class in {out}; then:")
    given = ["--set", declared] if declared else []
    console.next(command("calibrate", "--modality", modality, "--data", out, *given))


def check_empty(folder: Path) -> None:
    """Refuse a folder in which something lies.

    Raises:
        ConfigError: it is no folder, or not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"`--out {folder}` is there and not empty; expected a new folder, so that nothing is written over",
            hint=f"name another one: `--out {folder}-2`",
        )


def free_name(stamp: str, suffix: str, names: set[str]) -> str:
    """A name by the stamp, with a number where several frames have the same."""
    name, number = f"{stamp}{suffix}", 1
    while name in names:
        number += 1
        name = f"{stamp}-{number}{suffix}"
    names.add(name)
    return name


def unit_of(frame: Frame, modality: Modality) -> str:
    """The setting that says of the files what their format cannot: the unit of counts of depth, the rate of films."""
    from advcal_edge.runtime.sensors import Recording

    if isinstance(frame, Recording):
        untimed = modality.preprocess == "video" and "file_rate" in modality.settings
        return f"input.file_rate={frame.rate:.4g}" if untimed else ""
    return "input.depth_scale=mm" if modality.preprocess == "depth" and frame.dtype.kind == "u" else ""


def index(rows: list[tuple[str, ...]]) -> bytes:
    """The list of files as csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    return text.getvalue().encode()
