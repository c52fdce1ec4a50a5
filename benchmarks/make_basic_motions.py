"""Write the committed copy of BasicMotions: `python benchmarks/make_basic_motions.py aeon-1.6.0-py3-none-any.whl`.

The wheel of aeon, a toolkit for time series, carries the data set as text; `pip download --no-deps aeon` fetches it.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.builtin import ACTIVITIES

OUT = Path(__file__).parents[1] / "calibrate/data/builtin/basic_motions.npz"
MEMBER = "aeon/datasets/data/BasicMotions/BasicMotions_{}.ts"


def parse(text: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Recordings (n, 6, t) and labels (n,) of a .ts file: a case a line, channels apart by colons, the label last."""
    cases = [line.split(":") for line in text.splitlines() if line and line[0] not in "#@"]
    values = [[[float(value) for value in channel.split(",")] for channel in case[:-1]] for case in cases]
    labels = [ACTIVITIES.index(case[-1].strip().lower()) for case in cases]
    return np.array(values, np.float32), np.array(labels, np.uint8)


def main() -> None:
    """Unpack, parse, compress."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path, help="the wheel of aeon")
    arrays: dict[str, NDArray[np.float32] | NDArray[np.uint8]] = {}
    with zipfile.ZipFile(parser.parse_args().wheel) as wheel:
        for split in ("train", "test"):
            recordings, labels = parse(wheel.read(MEMBER.format(split.upper())).decode())
            arrays |= {f"{split}_recordings": recordings, f"{split}_labels": labels}
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT.name}: {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
