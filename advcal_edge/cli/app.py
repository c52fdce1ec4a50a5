"""The list of commands. Each lives in the module of its name and imports what is heavy when it runs."""

from __future__ import annotations

import typer

from advcal_edge.cli import bench, calibrate, centers, demo, doctor, embed, export, inspect, verify

app = typer.Typer(
    name="advcal-edge",
    help=(
        "Calibrate a frozen Bind-style encoder against adversarial input, export it, and prove by attacking the "
        "exported engine that it is as robust as the model that was calibrated.\n\n"
        "Exit codes: 0 done or passed; 1 failed or inconclusive; 2 usage, missing dependency, broken input; 130 Ctrl-C."
    ),
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
for command in (
    demo.demo,
    calibrate.calibrate,
    centers.centers,
    export.export,
    verify.verify,
    embed.embed,
    bench.bench,
    inspect.inspect,
    doctor.doctor,
):
    app.command()(command)
