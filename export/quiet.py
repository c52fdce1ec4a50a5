"""Silence around other people's exporters: warnings and log lines about their own insides that no user can act on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO


@contextmanager
def quiet() -> Iterator[None]:
    """Swallow warnings, log lines and prints of the code inside, and leave the process's logging as it was."""
    disabled = logging.root.manager.disable
    handlers = list(logging.root.handlers)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        # `logging.warning` of the root logger, which ONNX Runtime's quantiser calls, installs a handler unasked
        logging.root.handlers[:] = handlers
