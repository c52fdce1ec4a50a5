"""An engine that raises on a legal input has failed: its errors are recorded, and its attacks go on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from advcal_edge.attacks import AttackedModel
from advcal_edge.errors import EngineError, EngineStoppedError
from advcal_edge.model import Runner
from advcal_edge.report.raised import NOTHING_RAISED, Raised
from advcal_edge.runtime.model import EngineGradient
from advcal_edge.spec import TensorSpec
from advcal_edge.verify.unit import UnitGradient

Floats = NDArray[np.float32]
ALONE = 8  # samples tried one by one before an engine counts as one that does not run at all
LONGEST = 240  # characters of a message that are kept
FOLDERS = re.compile(r"`[^`]*/([^`/]+)`")


class Recorder:
    """A runner that records the errors of another; the rows it has no answer for are NaN, which is no class.

    A batch that fails is run again sample by sample, since the others in it may be fine.
    """

    def __init__(self, inner: Runner, dim: int) -> None:
        """`dim` is the width of the embeddings."""
        self.inner, self.dim = inner, dim
        self._raised = NOTHING_RAISED

    @property
    def spec(self) -> TensorSpec:
        """The input of the engine."""
        return self.inner.spec

    @property
    def fingerprint(self) -> str:
        """Identifies what runs."""
        return self.inner.fingerprint

    def __call__(self, x: Floats) -> Floats:
        """Embed x (n, ...) to z (n, d); NaN where the engine raises."""
        try:
            z: Floats = self.inner(x)
        except EngineStoppedError:  # each sample would take that time or memory again
            raise
        except EngineError as error:
            self._raised += Raised(1, tuple(x.shape), said(error))
            if len(x) == 1:
                return np.full((1, self.dim), np.nan, np.float32)
            return np.concatenate([self(x[k : k + 1]) for k in range(len(x))])
        return z

    def take(self) -> Raised:
        """The errors since the last call of this."""
        raised, self._raised = self._raised, NOTHING_RAISED
        return raised


def record(engine: AttackedModel, x: Floats) -> AttackedModel:
    """The same engine with its errors recorded from now on; x (n, ...) are legal inputs to try it on.

    Raises:
        EngineError: it fails on x as one batch and on the first samples one by one: it does not run at all.
        EngineStoppedError: it takes more time or memory than it may, which another try would take again.
    """
    failure = None
    for batch in (x, *(x[k : k + 1] for k in range(min(ALONE, len(x))))):
        try:
            engine.runner(batch)
            break
        except EngineStoppedError:
            raise
        except EngineError as error:
            failure = failure or error
    else:
        if failure is not None:
            raise failure
    recorder, gradient = Recorder(engine.runner, engine.centers.dim), engine.gradient
    if isinstance(gradient, (EngineGradient, UnitGradient)):
        gradient = replace(gradient, runner=recorder)
    return replace(engine, runner=recorder, gradient=gradient)


def take_raised(engines: Mapping[str, AttackedModel]) -> dict[str, Raised]:
    """The errors of each engine since the last call of this; engines without any are left out."""
    taken = {name: model.runner.take() for name, model in engines.items() if isinstance(model.runner, Recorder)}
    return {name: raised for name, raised in taken.items() if raised.calls}


def said(error: EngineError) -> str:
    """The message of an error in one printable line, with the names of files but not of folders: those differ."""
    line = FOLDERS.sub(r"`\1`", " ".join(error.message.split()))
    return "".join(char for char in line if char.isprintable())[:LONGEST]
