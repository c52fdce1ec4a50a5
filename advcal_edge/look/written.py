"""Write what was seen as a page or as a picture, and never over anything else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from advcal_edge.errors import ConfigError
from advcal_edge.look.page import MARK, render_page
from advcal_edge.look.sight import Sight
from advcal_edge.storage import open_regular, write_atomic

HEAD = 512  # bytes of an earlier page that hold its mark


def write_look(out: Path, sights: Sequence[Sight]) -> bool:
    """Write a page, or a picture if the suffix is `.png`; true if an earlier one was replaced.

    Raises:
        ConfigError: something else has this name, a sensor's file perhaps.
        DependencyError: jinja2 is not installed, which pages need.
        BundleError: the folder cannot be written.
    """
    there = out.exists() or out.is_symlink()
    if there and not is_look(out):
        raise ConfigError(
            f"`{out}` is there already, and was not written by `look`; expected a new name", hint="`--out look-2.html`"
        )
    if out.suffix.lower() == ".png":
        from advcal_edge.look.picture import draw_png

        data = draw_png(sights)
    else:
        data = render_page(sights).encode()
    write_atomic(out, data)
    return there


def is_look(path: Path) -> bool:
    """Did this command write the file?"""
    try:
        with open_regular(path, ConfigError) as file:
            return MARK.encode() in file.read(HEAD)
    except ConfigError:
        return False
