"""Calibrate the small encoder as one of the processes that torchrun started: `together.py FOLDER SECTIONS...`

SECTIONS are JSON; each is calibrated to FOLDER/0, FOLDER/1, ... With STOP in the environment training is interrupted
after so many steps, in every process.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from small_encoder import REGISTRY, settings_of

from advcal_edge import registry
from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.processes import joined
from advcal_edge.calibrate.run import Watch, calibrate_together
from advcal_edge.config import resolve


def stop(stage: str, done: int, total: int) -> None:
    """Ctrl-C at a step of the training."""
    if stage == "calibrate" and done == int(os.environ.get("STOP", -1)):
        raise KeyboardInterrupt


def main(folder: Path, *sections: str) -> None:
    """Calibrate all of them in one process group."""
    registry.ENCODERS = {**registry.ENCODERS, **REGISTRY}
    with joined() as processes:
        for index, text in enumerate(sections):
            config = resolve(CalibrateConfig, settings_of(folder, str(folder / str(index)), json.loads(text)))
            with suppress(KeyboardInterrupt):
                calibrate_together(config, processes, Watch(stop))


main(Path(sys.argv[1]), *sys.argv[2:])
