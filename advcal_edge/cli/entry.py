"""Entry point that maps a command line to an exit code: 0 done, 1 failed or inconclusive, 2 broken input or usage.

An export that lacks something that was requested is 1 too, and so are files that `embed --skip-bad` left out.
130 on Ctrl-C, 143 on SIGTERM, 129 on SIGHUP.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from advcal_edge.cli.console import show_error
from advcal_edge.cli.cores import share_cores
from advcal_edge.cli.interruption import interruption
from advcal_edge.cli.streams import plain_streams
from advcal_edge.errors import AdvcalError
from advcal_edge.report.table import printable

DONE, FAILED, BROKEN, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Catches every exception, so that a crash never means a failed gate."""
    share_cores(os.environ)
    with plain_streams(), interruption() as asked:
        try:
            code = run(arguments)
        except KeyboardInterrupt:
            code = INTERRUPTED
        if code != INTERRUPTED and asked.signal in (None, signal.SIGINT):  # a node of ROS ends well on Ctrl-C
            return code
        with suppress(OSError):  # the terminal may be closed
            sys.stderr.write(f"{asked}\n")
        return asked.code


def run(arguments: Sequence[str] | None) -> int:
    """Run one command, and report errors on stderr."""
    try:
        from advcal_edge.cli.app import app

        app(args=arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else DONE
    except ModuleNotFoundError as error:
        name = printable(str(error.name))
        sys.stderr.write(f"error: the package `{name}` is not installed; expected all that advcal-edge needs\n")
        sys.stderr.write("\nhint: pip install advcal-edge, and see `advcal-edge doctor` for the extras\n")
    except AdvcalError as error:
        show_error(error)
    except MemoryError:
        sys.stderr.write("error: out of memory\n\nhint: lower `--samples` or the batch size\n")
    except Exception as error:
        if os.environ.get("ADVCAL_TRACEBACK"):
            traceback.print_exc()
        sys.stderr.write(f"internal error: {printable(f'{type(error).__name__}: {error}')}\n")
        sys.stderr.write("\nhint: run again with ADVCAL_TRACEBACK=1 and report what it prints\n")
    return BROKEN
