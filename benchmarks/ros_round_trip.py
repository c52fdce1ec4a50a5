"""From a camera's message to its embedding and back, over ROS 2: `python benchmarks/ros_round_trip.py BUNDLE`.

Starts the node (`advcal-edge ros BUNDLE`) in a process of its own, publishes colour frames (640 x 480 unless told) as a
camera's driver would, and takes the embeddings. Measures from the stamp of a frame until its embedding has come: p50,
p95 and p99; the frames without an answer; how much the memory of the node grows after the first fifth; and what the
node says of itself in the end. Both processes get the profile of Fast DDS that comes with the package, unless
`--default-memory` is given. Run it where nothing else publishes, as in a network namespace with loopback only.

Needs ROS in this Python: docs/ros.md. Writes JSON beside the table with `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from advcal_edge.provenance import environment
from advcal_edge.robot.fast_dds import PROFILE, profile_variable
from advcal_edge.storage import write_atomic

PAGE = os.sysconf("SC_PAGE_SIZE")
SETTLED = 0.2
"""Share of the time after which memory should no longer grow."""
TENTHS = 10


@dataclass
class Run:
    """What came back."""

    sent: dict[int, float] = field(default_factory=dict)
    """When each frame was published, by its stamp."""
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    diagnosis: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Measure, print and write."""
    args = parse()
    if not args.default_memory:
        os.environ[profile_variable()] = str(PROFILE)
    command = [sys.executable, "-m", "advcal_edge", "ros", str(args.bundle), "--ros-args"]
    options = ["-p", "require_verified:=false", "-p", f"engine:={args.engine}", "-p", "max_age:=1.0"]
    node = subprocess.Popen([*command, *options])
    try:
        run = measure(args, node.pid)
    finally:
        node.terminate()
        node.wait(20)
    result = summary(args, run)
    for name, value in result["figures"].items():
        print(f"{name:24} {value}")
    if args.out:
        write_atomic(args.out, (json.dumps(result, indent=2) + "\n").encode())


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="bundle of a camera")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=30.0, help="hertz")
    parser.add_argument("--size", default="640x480", help="of the frames, width x height")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--default-memory", action="store_true", help="leave Fast DDS its 512 KiB")
    parser.add_argument("--out", type=Path, help="JSON")
    return parser.parse_args()


def measure(args: argparse.Namespace, node_process: int) -> Run:
    """Publish frames at their rate until the time is over; answers are taken in between."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    rclpy.init()
    camera, run = rclpy.create_node("camera"), Run()
    publisher = camera.create_publisher(Image, "input", qos_profile_sensor_data)

    def on_embedding(message: Any) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        run.seconds.append(time.time() - run.sent[stamp])

    def on_diagnosis(message: Any) -> None:
        status = message.status[0]
        run.diagnosis = {"level": str(status.level[0]), "message": status.message}
        run.diagnosis |= {value.key: value.value for value in status.values}

    camera.create_subscription(Image, "/advcal_edge/embedding", on_embedding, 100)
    camera.create_subscription(DiagnosticArray, "/diagnostics", on_diagnosis, 10)
    width, height = map(int, args.size.split("x"))
    frame = Image(width=width, height=height, encoding="rgb8", step=width * 3)
    frame.header.frame_id = "camera"
    scene = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame.data = array("B", scene.tobytes())
    while not run.seconds:  # until both have found each other
        send(publisher, frame, run)
        rclpy.spin_once(camera, timeout_sec=0.2)
    run.sent.clear()
    run.seconds.clear()
    drain(camera, 1.0)
    run.sent.clear()
    run.seconds.clear()
    count = round(args.minutes * 60 * args.rate)
    started = time.perf_counter()
    for index in range(count):
        spin_until(camera, started + index / args.rate)
        send(publisher, frame, run)
        if index % round(args.rate) == 0:
            run.memory.append((time.perf_counter() - started, resident(node_process)))
    drain(camera, 2.0)
    camera.destroy_node()
    rclpy.shutdown()
    return run


def send(publisher: Any, frame: Any, run: Run) -> None:
    """Publish a frame with the stamp of now."""
    at = time.time_ns()
    frame.header.stamp.sec, frame.header.stamp.nanosec = divmod(at, 10**9)
    run.sent[at] = at / 1e9
    publisher.publish(frame)


def spin_until(node: Any, when: float) -> None:
    """Take what comes until a time."""
    import rclpy

    while (left := when - time.perf_counter()) > 0:
        rclpy.spin_once(node, timeout_sec=left)


def drain(node: Any, seconds: float) -> None:
    """Take what still comes."""
    spin_until(node, time.perf_counter() + seconds)


def resident(process: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE


def summary(args: argparse.Namespace, run: Run) -> dict[str, Any]:
    """Figures with their circumstances."""
    milliseconds = np.array(run.seconds) * 1e3
    last = run.memory[-1][0]
    settled = [size for at, size in run.memory if at >= SETTLED * last]
    tenths = np.array_split([size for _, size in run.memory], TENTHS)
    figures: dict[str, Any] = {"frames": len(run.sent), "lost": len(run.sent) - len(run.seconds)}
    for percentile in (50, 95, 99, 100):
        figures[f"ms p{percentile}"] = round(float(np.percentile(milliseconds, percentile)), 2)
    figures["node MiB"] = round(settled[-1] / 2**20, 1)
    figures["grown MiB"] = round((settled[-1] - settled[0]) / 2**20, 2)
    figures["MiB in each tenth"] = [round(float(np.median(part)) / 2**20, 1) for part in tenths if len(part)]
    figures["node says"] = f"{run.diagnosis.get('message')}; inside ms p50 {run.diagnosis.get('ms p50')}"
    settings = {name: str(value) for name, value in vars(args).items() if name not in ("out", "bundle")}
    return {"environment": environment(), "settings": settings, "figures": figures, "diagnosis": run.diagnosis}


if __name__ == "__main__":
    main()
