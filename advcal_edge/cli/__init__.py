"""The command line: thin commands that parse, call and render. Only this package prints and exits."""

from advcal_edge.cli.entry import main

__all__ = ["main"]
