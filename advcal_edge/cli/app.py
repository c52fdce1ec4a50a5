"""The list of commands. Each lives in the module of its name, which is imported when the command is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "add_completion": False}
COMMANDS = {
    "demo": (
        "Everything on the embedded default: for image in some four minutes on two cores, scenes are rendered first."
    ),
    "calibrate": "Train an adapter for a frozen encoder against adversarial input, and write a bundle.",
    "centers": "Write one center a label: the normalised mean of the prompts' embeddings.",
    "export": (
        "Write the encoder with its adapter merged as ONNX graphs, each checked against torch before it is kept."
    ),
    "verify": (
        "Attack engines and reference on the same samples, judge everything by both, and decide on the paired"
        " difference."
    ),
    "embed": "Embed files and name what is in them; the score is a softmax over the bundle's labels.",
    "bench": "Time the engine on the bundle's own samples, interleaved with the bare engine.",
    "inspect": "Check all hashes of a bundle and show what is in it.",
    "trust": "Let a bundle, as it was calibrated, run the encoder code and read the weights that its manifest names.",
    "doctor": "Try every backend for real and say what works, what is missing, and how to install it.",
}
"""What the list says of each: the first sentence of its own help."""


class Commands(TyperGroup):
    """A group whose list takes none of the commands; the one that was named is imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the first of `args` names, its name, and the other arguments."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if name is None else load(name), rest


def load(name: str) -> Any:
    """The command `name`, from the function of that name in the module of that name."""
    alone = typer.Typer(**PLAIN)
    alone.command()(getattr(import_module(f"advcal_edge.cli.{name}"), name))
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
