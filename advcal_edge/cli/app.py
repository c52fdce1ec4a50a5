"""The list of commands. Each is in the module of its name, which is imported when the command runs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "add_completion": False}
COMMANDS = {
    "demo": "Run the whole pipeline on the embedded encoder: about four minutes for image on two cores.",
    "calibrate": "Train an adapter for a frozen encoder against adversarial input, and write a bundle.",
    "study": "Calibrate every cell of a grid of settings, and write tables; what is finished is not done again.",
    "centers": "Write one center per label: the normalised mean of the prompts' embeddings.",
    "export": "Write the encoder with its adapter merged as ONNX graphs, and check each against torch.",
    "verify": (
        "Attack engines and reference on the same samples, judge every input by both, and decide on the paired"
        " difference."
    ),
    "attest": "Sign what the reports of a bundle show, and the bundle itself.",
    "look": "See how files of a sensor are read: the frame, what was understood, and what the encoder gets.",
    "embed": "Embed files, or a stream, and show their best labels; the score is a softmax over the bundle's labels.",
    "frames": "Write the frames of a topic of a ROS bag as files, to label them and calibrate on them.",
    "ros": "Run the ROS 2 node: messages of the bundle's sensor in; embeddings, labels and diagnostics out.",
    "bench": "Time the engine on the bundle's own samples, interleaved with the bare engine.",
    "selftest": "Replay on this device what `verify` stored of an engine, and compare; exit 0 or 1.",
    "inspect": "Check all hashes of a bundle and show its content.",
    "trust": "Allow a bundle to run the encoder code and read the weights that its manifest names.",
    "doctor": "Try every backend and show what works, what is missing, and how to install it.",
}
"""One line per command: the first sentence of its help."""


class Commands(TyperGroup):
    """A command group that imports only the command that was named, not those it lists."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Name, command and remaining arguments, from the first of `args`."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if name is None else load(name), rest


def load(name: str) -> Any:
    """Load the command `name`: the function of that name in the module of that name."""
    alone = typer.Typer(**PLAIN)
    module = import_module(f"advcal_edge.cli.{name}")
    alone.command(context_settings=getattr(module, "CONTEXT", None))(getattr(module, name))
    return typer.main.get_command(alone)


app = typer.Typer(
    name="advcal-edge",
    cls=Commands,
    help=(
        "Calibrate a frozen Bind-style encoder against adversarial input, export it, and prove by attacking the "
        "exported engine that it is as robust as the model that was calibrated.\n\n"
        "Exit codes: 0 done or passed; 1 failed or inconclusive; 2 usage, missing dependency, broken input;"
        " 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP."
    ),
    no_args_is_help=True,
    **PLAIN,
)
for command, summary in COMMANDS.items():
    app.command(command, help=summary)(lambda: None)
