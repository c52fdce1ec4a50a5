"""How many arrays of a whole frame preprocessing makes: each may be fetched from the system anew for every frame."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import image, thermal

rows, columns = np.indices((512, 640))
frame = (29000 + 3 * rows + columns).astype(np.uint16)
if sys.argv[1] == "holes":
    frame[100:110, 40:60] = 0
modality = image(64) if sys.argv[1] == "image" else thermal(64)
frame = np.stack([2 * frame] * 3, axis=2) if sys.argv[1] == "image" else frame
for number in range(40):
    if number == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    preprocess(modality, [frame])
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


PAGES = 512 * 640 * 4 // 4096
"""Of one plane of floats."""
FETCH = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
"""Makes the C library of Linux fetch arrays of 1 MiB and more from the system, and keep smaller ones."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc")
@pytest.mark.parametrize("kind", ["counts", "holes", "image"])
def test_one_plane_of_floats_at_most(kind: str) -> None:
    """Counts are widened once and then changed in place; pictures of 16 bits are converted by rows."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind], capture_output=True, text=True, check=True, env={**os.environ, **FETCH}
    )
    limit = 0.5 if kind == "image" else 2.5 if kind == "holes" else 1.5  # holes: filled in a copy
    assert float(done.stdout) < limit * PAGES
