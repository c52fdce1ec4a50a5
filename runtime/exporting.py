"""The command that makes an engine again, as hints name it."""

from __future__ import annotations

from pathlib import Path

from advcal_edge.commands import command
from advcal_edge.manifest import MANIFEST


def export_command(engine: Path, options: str = "") -> str:
    """`advcal-edge export` for the bundle that `engine` lies in, quoted; with BUNDLE where it lies in none."""
    bundle = next((folder for folder in engine.parents[:2] if (folder / MANIFEST).is_file()), "BUNDLE")
    return f"`{command('export', bundle, *options.split())}`"
