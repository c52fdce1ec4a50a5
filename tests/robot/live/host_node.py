"""The node on a machine with the stand-in for a GPU and TensorRT: `python host_node.py BUNDLE --ros-args ...`."""

from __future__ import annotations

import sys

import pytest
from host_trt import host_gpu

from advcal_edge.robot.node import main

if __name__ == "__main__":
    with host_gpu(pytest.MonkeyPatch()):
        sys.exit(main(sys.argv[2:], sys.argv[1]))
