"""A robot for each test. Without ROS these tests are skipped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `verified`, if this folder is run alone

from live_robot import Robot, new_robot


@pytest.fixture
def robot() -> Iterator[Robot]:
    """A robot whose node is not started yet."""
    with new_robot() as made:
        yield made
