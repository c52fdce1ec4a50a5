"""`advcal-edge centers`: text centers from labels, with the text tower of an encoder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import Json
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.limits import LABELS, LABELS_BYTES
from advcal_edge.registry import split_folder
from advcal_edge.storage import read_bytes

ONE_A_LINE = "a text file with one entry a line, as `printf 'cat\\ndog\\n' > labels.txt` writes it"


def centers(
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", help="`imagebind`, `languagebind`, `openclip:MODEL`, `siglip`, or `hf` for CLIP and SigLIP."
        ),
    ],
    labels: Annotated[Path, typer.Option("--labels", help="Text file with one label per line.")],
    out: Annotated[Path, typer.Option("--out", help="File to write, for `calibrate --centers`.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Checkpoint of the encoder, a file or a folder.")
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option("--templates", help="Text file of prompts with `{}` for the label; a center is their mean."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Write one center per label: the normalised mean of the prompts' embeddings."""
    from advcal_edge.encoders.base import open_text_tower, text_centers
    from advcal_edge.storage import write_atomic

    console = Console(json_output=json_output)
    names = read_lines(labels)
    prompts = read_lines(templates) if templates else ("{}",)
    console.say(f"centers  {encoder}  {len(names)} labels, {len(prompts)} prompts each")
    name, place = split_folder(encoder, None if weights is None else str(weights))
    if place is None:
        raise ConfigError(f"the text tower of `{name}` is in its checkpoint", hint="say where it is with `--weights`")
    tower = open_text_tower(name, Path(place))
    for note in tower.notes:
        console.say(note)
    found = text_centers(tower, names, prompts)
    write_atomic(out, found.to_bytes())
    console.document(
        {
            "out": str(out),
            "labels": list(found.labels),
            "dim": found.dim,
            "temperature": found.temperature,
            "source": found.source,
        }
    )
    console.result(f"{len(found.labels)} centers of {found.dim} numbers, temperature {found.temperature:.4g}")
    console.say(f"wrote `{out}`: {found.source}")
    console.next(
        command("calibrate", "--modality", "MODALITY", "--encoder", name, "--weights", place, "--centers", out)
    )


def read_lines(path: Path) -> tuple[str, ...]:
    """Non-blank lines of a text file.

    Raises:
        InputError: unreadable, too large, not UTF-8, or without any line.
    """
    try:
        text = read_bytes(path, LABELS_BYTES, InputError).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"cannot read `{path}` as UTF-8: {error}", hint=f"`iconv -t utf-8 {shlex.quote(str(path))}` converts it"
        ) from error
    except InputError as error:
        raise InputError(error.message, hint=error.hint or ONE_A_LINE) from error
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise InputError(f"`{path}` is empty; expected one entry a line", hint=ONE_A_LINE)
    LABELS.check(len(lines), f"`{path}`", InputError)
    return lines
