"""A robot for tests: the node in a process of its own, and around it what publishes to it and listens to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from checkout import ROOT
from numpy.typing import NDArray

PATIENCE = 15.0
"""Seconds until something that should happen has not."""

NUMBERS = count(1)
NODE = (sys.executable, "-m", "advcal_edge", "ros")


@dataclass
class Robot:
    """What a test has in its hands. Every robot has a namespace of its own."""

    tools: Any
    """The node of the test, which publishes and listens."""
    namespace: str
    heard: dict[str, list[Any]] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def publisher(self, kind: Any, qos: Any) -> Any:
        """Publishes the input of the node."""
        return self.tools.create_publisher(kind, f"{self.namespace}/input", qos)

    def match(self, publisher: Any) -> None:
        """Wait until the node has found a publisher: it may do so a little later than it is found itself."""
        self.until(lambda: publisher.get_subscription_count() == 1)
        self.spin(0.4)

    def listen(self, kind: Any, name: str, qos: Any = 10) -> list[Any]:
        """Messages of a topic of the node, as they come."""
        messages = self.heard.setdefault(name, [])
        topic = name if name.startswith("/") else f"{self.namespace}/advcal_edge/{name}"
        self.tools.create_subscription(kind, topic, messages.append, qos)
        return messages

    def until(self, holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Spin until something holds; what it was."""
        import rclpy

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := holds():
                return found
            rclpy.spin_once(self.tools, timeout_sec=0.02)
        raise AssertionError(f"not within {seconds:g} s; the last diagnosis was {self.diagnosis()}")

    def spin(self, seconds: float) -> None:
        """Let time pass."""
        import rclpy

        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            rclpy.spin_once(self.tools, timeout_sec=left)

    def diagnosis(self) -> SimpleNamespace | None:
        """The last one of this robot: level, message, and the values by their keys."""
        own = [
            status
            for message in self.heard["/diagnostics"]
            for status in message.status
            if status.name.startswith(f"{self.namespace}/")
        ]
        if not own:
            return None
        values = {value.key: value.value for value in own[-1].values}
        return SimpleNamespace(level=own[-1].level[0], message=own[-1].message, values=values)

    def says(self, text: str) -> Callable[[], Any]:
        """Is this in its diagnosis?"""

        def holds() -> Any:
            found = self.diagnosis()
            return found if found is not None and text in found.message else None

        return holds

    def call(self, service: str, kind: Any, **request: Any) -> Any:
        """The answer of a service of the node."""
        client = self.tools.create_client(kind, f"{self.namespace}/advcal_edge/{service}")
        self.until(client.service_is_ready)
        future = client.call_async(kind.Request(**request))
        self.until(future.done)
        self.tools.destroy_client(client)
        return future.result()

    def transition(self, label: str) -> bool:
        """Ask for a transition, as `ros2 lifecycle set` does."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        return bool(self.call("change_state", ChangeState, transition=Transition(label=label)).success)

    def state(self) -> str:
        """State of its life."""
        from lifecycle_msgs.srv import GetState

        return str(self.call("get_state", GetState).current_state.label)

    def start(self, bundle: Path, *options: str, program: Sequence[str] = NODE, file: Path | None = None) -> None:
        """Start the node with these parameters, which win over those of a file."""
        given = [] if file is None else ["--params-file", str(file)]
        given += [word for option in options for word in ("-p", option)]
        places = [str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]  # of the stand-in for a GPU
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        command = [*program, str(bundle), "--ros-args", "-r", f"__ns:={self.namespace}", *given]
        self.process = subprocess.Popen(command, env=environment)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Exit code of the node after a signal."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def new_robot() -> Iterator[Robot]:
    """A robot whose node is not started yet, with its diagnostics heard."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray

    if not rclpy.ok():
        rclpy.init()
    number = next(NUMBERS)
    tools = rclpy.create_node(f"test_{number}")
    robot = Robot(tools, f"/robot_{os.getpid()}_{number}")
    robot.listen(DiagnosticArray, "/diagnostics")
    try:
        yield robot
    finally:
        if robot.process is not None:
            robot.stop()
        tools.destroy_node()


def picture(pixels: NDArray[Any], encoding: str, stamp: int) -> Any:
    """sensor_msgs/Image of rclpy."""
    from sensor_msgs.msg import Image

    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.nbytes // len(pixels)
    message.data = array("B", pixels.tobytes())
    message.header.frame_id = "camera"
    stamp_header(message.header, stamp)
    return message


def stamp_header(header: Any, stamp: int) -> None:
    """Set a stamp in nanoseconds."""
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)


def stamp_of(message: Any) -> int:
    """Nanoseconds of a header."""
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def embedding(message: Any) -> NDArray[np.float32]:
    """z (d,) of an embedding message."""
    assert (message.encoding, message.height, message.step) == ("32FC1", 1, 4 * message.width)
    return np.frombuffer(message.data, "<f4")


def told(message: Any) -> Any:
    """The JSON in a std_msgs/String."""
    return json.loads(message.data)
