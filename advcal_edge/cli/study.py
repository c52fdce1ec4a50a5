"""`advcal-edge study`: many calibrations from one file, spread over processes, and tables of all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.options import Json
from advcal_edge.errors import ConfigError
from advcal_edge.verify.shard import Shard


def study(
    file: Annotated[Path, typer.Argument(help="TOML file with the grid, see docs/study.md.")],
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="Calibrate part i of n of the cells, like `1/2`; default: `torchrun`'s own."),
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="Write the tables of what is finished, and end.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Show how many operations and hours are left, and end.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Calibrate every cell of a grid of settings, and write tables; what is finished is not done again.

    Exits with 0 if every cell of this part is finished, 1 if some failed.
    """
    from advcal_edge.calibrate.study import Cell, Study, run_cells, unfinished
    from advcal_edge.calibrate.study_estimate import estimate as estimate_cells
    from advcal_edge.calibrate.study_table import write_tables

    if tables and estimate:
        raise ConfigError("`--tables` and `--estimate` both end at once; expected one of them")
    console = Console(json_output=json_output)
    chosen = Study.read(file)
    part = _part(shard)
    cells = chosen.share(part.index - 1, part.count)
    failures = []
    if not tables:
        console.say(f"study  {len(chosen.cells)} cells, of which this process calibrates {len(cells)}")
        left = unfinished(cells)
        found = estimate_cells(left, chosen.speed)
        if estimate:
            console.result(f"{found.draw()}\n" if left else "")
        console.say(str(found) if left else "no cell is left to calibrate")
        for line in found.unknowns:
            console.say(line)
        if estimate:
            console.document(found.to_json())
            return

        def starts(place: int, cell: Cell) -> None:
            console.say(f"cell {place + 1} of {len(cells)}: {cell}")

        failures = run_cells(cells, console.progress, starts=starts)
    for failure in failures:
        console.say(f"failed: {failure.cell}: {failure.error.message}")
        if failure.error.hint:
            console.say(f"  {failure.error.hint}")
    written = write_tables(chosen)
    console.result("\n".join(str(path) for path in written))
    console.document(
        {
            "cells": len(chosen.cells),
            "failed": [{"cell": str(each.cell), "error": each.error.message} for each in failures],
            "tables": [str(path) for path in written],
        }
    )
    raise typer.Exit(1 if failures else 0)


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
