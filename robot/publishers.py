"""Who publishes on the input, and whether their messages can reach the node: QoS and types are compared by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advcal_edge.robot.diagnosis import Diagnosis, Level
from advcal_edge.runtime.messages import plain_kind

RELIABLE, BEST_EFFORT = "reliable", "best effort"


@dataclass(frozen=True, slots=True)
class Publisher:
    """One publisher as the graph of ROS shows it."""

    node: str
    kind: str
    """Type of its messages."""
    reliability: str
    """`reliable`, `best effort` or what else the middleware says."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the node subscribes to."""

    topic: str
    kind: str
    reliable: bool

    @property
    def asks(self) -> str:
        """The reliability it asks for."""
        return RELIABLE if self.reliable else BEST_EFFORT

    def takes(self, publisher: Publisher) -> bool:
        """Do the messages of this publisher reach the node? A best-effort publisher serves no reliable subscriber."""
        fits = plain_kind(publisher.kind) == plain_kind(self.kind)
        return fits and not (self.reliable and publisher.reliability == BEST_EFFORT)


def check_publishers(wanted: Wanted, publishers: Sequence[Publisher]) -> Diagnosis | None:
    """What stands between the publishers and the node; None if at least one of them reaches it."""
    if any(wanted.takes(one) for one in publishers):
        return None
    if not publishers:
        return Diagnosis(
            Level.STALE,
            f"nobody publishes `{wanted.topic}`",
            "start the camera or the bag, or name its topic: `--ros-args -r input:=/camera/image_raw`;"
            " `ros2 topic list -t` lists all",
        )
    suited = [one for one in publishers if plain_kind(one.kind) == plain_kind(wanted.kind)]
    if suited:
        one = suited[0]
        return Diagnosis(
            Level.ERROR,
            f"QoS mismatch: `{one.node}` publishes `{wanted.topic}` {one.reliability}, this node asks for"
            f" {wanted.asks}; no message passes",
            "`--ros-args -p reliable:=false`",
        )
    one = publishers[0]
    return Diagnosis(
        Level.ERROR,
        f"type mismatch: `{one.node}` publishes `{wanted.topic}` as `{plain_kind(one.kind)}`, this node takes"
        f" `{plain_kind(wanted.kind)}`",
        _take_its_type(plain_kind(one.kind)),
    )


def _take_its_type(kind: str) -> str:
    transports = {"sensor_msgs/CompressedImage": "compressed", "sensor_msgs/Image": "raw"}
    if kind in transports:
        return f"`--ros-args -p transport:={transports[kind]}`"
    return (
        f"`--ros-args -p input_type:={kind.replace('/', '/msg/')}`, if the sensor is this one; else `-r input:=TOPIC`"
    )
