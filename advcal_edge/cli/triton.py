"""`advcal-edge export --triton`: a model repository of Triton, and the command that serves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.cli.console import Console
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError
from advcal_edge.report.table import table


def check_alone(bundle: Path, asked: Mapping[str, bool]) -> None:
    """Refuse options that would make engines, by whether each was given: a repository is made of what the bundle has.

    Raises:
        ConfigError: some were.
    """
    given = [f"`{name}`" for name, is_given in asked.items() if is_given]
    if given:
        raise ConfigError(
            f"`--triton` and {', '.join(given)} exclude each other: a repository is made of an engine that the bundle"
            " has, and none is made for it",
            hint=f"make the engine first: `{command('export', bundle)}` with {' '.join(given).replace('`', '')};"
            f" then `{command('export', bundle, '--triton', 'DIR', '--engine', 'NAME')}`",
        )


def write_repository(bundle: Bundle, folder: Path, engine: str, console: Console) -> None:
    """Write the repository and show its models."""
    from advcal_edge.export.triton.repository import write_repository

    console.say(f"serve  {bundle.path}  {engine}  Triton repository `{folder}`")
    written = write_repository(bundle, folder, engine)
    served = written.served
    kind = "a GPU" if served.on_gpu else "the CPU"
    rows = [
        (written.engine, "tensorrt" if served.plan else "onnxruntime", "x -> z", f"1 to {served.batches[1]}", kind),
        (written.embedder, "python", "raw frame -> embedding, labels", f"1 to {served.batches[1]}", kind),
    ]
    console.result(table(("model", "backend", "what", "batch", "runs on"), rows))
    if served.plan:
        console.say("the plan was not opened: its batches are those of its metadata")
    if served.verified_on is None:
        console.say(
            "not verified: the configurations say so; first"
            f" `{command('verify', bundle.path, '--engine', bundle.path / served.name)}`"
        )
    console.document(written.to_json())
    console.say(
        f"wrote `{folder}`: engine {served.file.sha256[:8]}, {served.precision}, of bundle {served.identity[:8]}"
    )
    console.say(f"serve it: {written.command}")
