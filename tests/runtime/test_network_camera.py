"""A camera on the network: its pictures, its end, and no word of its password."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque

import numpy as np
import pytest
from network_camera import network_camera, red
from tiny import BundleMaker, Linear

from advcal_edge.errors import InputError
from advcal_edge.runtime.sources import MOST_MISSES, Camera, Item
from advcal_edge.spec import image


def test_pictures_come_in_rgb_and_the_end_is_told() -> None:
    items: list[Item] = []
    with network_camera(12) as url, pytest.raises(InputError, match="gives no frame; expected one in 21 reads"):
        deque(map(items.append, Camera(url.replace("//", "//user:secret@"))), maxlen=0)
    frames = [np.asarray(item) for item in items if not isinstance(item, InputError)]
    misses = [item.message for item in items if isinstance(item, InputError)]
    assert len(misses) == MOST_MISSES
    assert not any("secret" in message for message in misses)
    assert len(frames) == 12
    for number, frame in enumerate(frames):
        assert frame.shape == (48, 64, 3)
        assert np.abs(frame.astype(int) - red(number)).max() <= 12  # JPEG


def test_a_camera_that_is_not_there() -> None:
    with network_camera(0) as url:
        pass  # nobody listens there any more
    with pytest.raises(InputError, match="cannot be opened") as refusal:
        next(iter(Camera(url.replace("//", "//user:secret@"))))
    assert refusal.value.hint is not None
    assert f"ffplay {url}" in refusal.value.hint
    assert "secret" not in f"{refusal.value.message} {refusal.value.hint}"


READER = """
import sys
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.sources import Camera
with Embedder.load(sys.argv[1]).stream(Camera(sys.argv[2]), latest=False) as results:
    for result in results:
        print(result.number, flush=True)
"""


def test_a_program_that_is_interrupted_twice_ends_as_python_ends(make_bundle: BundleMaker) -> None:
    """The second Ctrl-C ends the wait for the thread, which would then abort the process from inside OpenCV."""
    bundle = make_bundle(Linear.random(image(8)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with network_camera() as url:
        command = [sys.executable, "-c", READER, str(bundle.path), url]
        reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert reader.stdout is not None
        assert [reader.stdout.readline().strip() for _ in range(3)] == ["0", "1", "2"]
        for _ in range(2):
            reader.send_signal(signal.SIGINT)
            time.sleep(0.01)
        _, err = reader.communicate(timeout=60)
    assert reader.returncode == -signal.SIGINT, err
    assert "KeyboardInterrupt" in err
    assert "FATAL" not in err
