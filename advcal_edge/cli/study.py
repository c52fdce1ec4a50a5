"""`advcal-edge study`: many calibrations from one file, spread over processes, and tables of all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import Json
from advcal_edge.errors import ConfigError
from advcal_edge.verify.shard import Shard

if TYPE_CHECKING:
    from advcal_edge.calibrate.study import Cell, Failure, Study
    from advcal_edge.calibrate.study_table import Written


def study(
    file: Annotated[
        Path, typer.Argument(help="TOML file with cases and grid, see docs/study.md; with `--render` the JSON.")
    ],
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="Calibrate part i of n of the cells, like `1/2`; default: `torchrun`'s own."),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Show how many operations and hours are left, and end.")
    ] = False,
    tables: Annotated[bool, typer.Option("--tables", help="Write the tables of what is finished, and end.")] = False,
    render: Annotated[
        bool, typer.Option("--render", help="Write table and page of the JSON that a study wrote again, and end.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Calibrate every cell of a grid of settings, and write tables; what is finished is not done again.

    Exits with 0 if every cell of this part is finished, 1 if some failed.
    """
    from advcal_edge.calibrate.study import Study
    from advcal_edge.calibrate.study_table import render_tables, write_tables

    if estimate + tables + render > 1:
        raise ConfigError("`--estimate`, `--tables` and `--render` each end at once; expected one of them")
    console = Console(json_output=json_output)
    if render:
        rendered = render_tables(file)
        _show(rendered, console)
        console.document({"tables": [str(path) for path in rendered.paths]})
        if rendered.lacking is not None:
            raise rendered.lacking
        return
    chosen = Study.read(file)
    part = _part(shard)
    cells = chosen.share(part.index - 1, part.count)
    failures: list[Failure] = []
    if not tables:
        console.say(f"study  {len(chosen.cells)} cells, of which this process calibrates {len(cells)}")
        _estimate(cells, chosen, console, whole=estimate)
        if estimate:
            return
        failures = _run(cells, console)
    written = write_tables(chosen)
    _show(written, console)
    console.document(
        {
            "cells": len(chosen.cells),
            "failed": [{"cell": str(each.cell), "error": each.error.message} for each in failures],
            "tables": [str(path) for path in written.paths],
        }
    )
    raise typer.Exit(1 if failures else 0)


def _estimate(cells: tuple[Cell, ...], study: Study, console: Console, *, whole: bool) -> None:
    """One line about what is left; with `whole` a table and the document too."""
    from advcal_edge.calibrate.study import unfinished
    from advcal_edge.calibrate.study_estimate import estimate

    left = unfinished(cells)
    found = estimate(left, study.speed)
    if whole and left:
        console.result(found.draw())
    console.say(str(found) if left else "no cell is left to calibrate")
    for line in found.unknowns:
        console.say(line)
    if whole:
        console.document(found.to_json())


def _run(cells: tuple[Cell, ...], console: Console) -> list[Failure]:
    """Calibrate what is left, and show what failed."""
    from advcal_edge.calibrate.study import run_cells

    failures = run_cells(
        cells,
        console.progress,
        starts=lambda place, cell: console.say(f"cell {place + 1} of {len(cells)}: {cell}"),
    )
    for failure in failures:
        console.say(f"failed: {failure.cell}: {failure.error.message}")
        if failure.error.hint:
            console.say(f"  {failure.error.hint}")
    return failures


def _show(written: Written, console: Console) -> None:
    """Paths, and what the page lacks."""
    if written.lacking is not None:
        console.say(f"the page was not rendered: {written.lacking.message}; {written.lacking.hint}")
    console.result("\n".join(str(path) for path in written.paths))


def _part(shard: str | None) -> Shard:
    """The part of `--shard`, or of one of the processes that torchrun started."""
    text = shard
    if text is None:
        rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
        text = f"{int(rank) + 1}/{world}" if rank.isdigit() else f"{rank}/{world}"
    try:
        return Shard.parse(text)
    except ConfigError as error:
        words = f"`--shard {text}` is no part of a study; expected `i/n` with 1 <= i <= n"
        raise ConfigError(words, hint="like `1/2`") from error
