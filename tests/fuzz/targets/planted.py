"""Defects that are there on purpose: one for each thing that the watch is for, so that a blind watch is noticed."""

from __future__ import annotations

import ctypes
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from fuzz.calls import CALLS
from fuzz.case import Action, Scene, Target
from fuzz.corpus import set_traps
from fuzz.poisons import BAIT


def _spin() -> None:
    while True:
        pass


DEFECTS: Mapping[str, tuple[str, Callable[[], object]]] = {
    "exception": ("exception", lambda: {}["x"]),
    "crash": ("crash", lambda: ctypes.string_at(0)),
    "end": ("crash", lambda: os._exit(0)),
    "hang": ("hang", _spin),
    "memory": ("memory", lambda: bytearray(b"x" * (900 << 20))),
    "write": ("write", lambda: Path("../stray").write_text("x")),
    "silent write": ("write", lambda: ctypes.CDLL(None).close(ctypes.CDLL(None).creat(b"../quiet", 0o600))),
    "process": ("process", lambda: os.system("true")),  # noqa: S605
    "pickle": ("process", lambda: pickle.loads(pickle.dumps(time.sleep))),  # noqa: S301
    "import": ("import", lambda: import_module(BAIT)),
    "control": ("control", lambda: sys.stderr.write("\x1b[2J")),
    "changed": ("changed", lambda: Path("kept").write_text("y")),
}
"""What the violation is called, and what brings it about."""


def write_planted(name: str, scene: Scene) -> Sequence[Action]:
    """A case that does one forbidden thing."""
    (scene.folder / "kept").write_text("x")
    set_traps(scene.folder)
    return (Action(f"planted {name}", (), ("kept",)),)


CALLS_PLANTED = {f"planted {name}": call for name, (_, call) in DEFECTS.items()}
assert isinstance(CALLS, dict)
CALLS.update(CALLS_PLANTED)

TARGETS = tuple(
    Target(f"planted-{name.replace(' ', '-')}", ("",), lambda scene, name=name: write_planted(name, scene), 1)
    for name in DEFECTS
)
