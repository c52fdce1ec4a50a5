"""The parameters of the node: names, defaults, limits and what they mean, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from advcal_edge.errors import ConfigError

Value: TypeAlias = "str | bool | int | float"

TRANSPORTS = ("raw", "compressed")


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Parameters of the node; they are read when it is configured."""

    bundle: str = ""
    """Folder of the bundle."""
    engine: str = "auto"
    """auto, a precision like int8, or a path; auto prefers verified engines."""
    require_verified: bool = True
    """Refuse an engine without a passing report for exactly its bytes."""
    selftest: bool = True
    """Replay at start what `verify` stored of this engine, if it did, and refuse one that answers in another way."""
    accept_retested: bool = False
    """Accept an engine that was verified in another place, or a plan built again, if it passes its self-test."""
    transport: str = "raw"
    """Of pictures: raw (sensor_msgs/Image) or compressed (sensor_msgs/CompressedImage)."""
    input_type: str = ""
    """Another type of messages for the input, like std_msgs/msg/Int16MultiArray; empty: by modality and transport."""
    reliable: bool = False
    """Ask publishers for reliable delivery; best effort takes from both kinds of publishers."""
    threads: int = 1
    """Processor threads of the engine; 0 leaves it to the engine."""
    top_k: int = 3
    """Labels per answer at most."""
    min_score: float = 0.0
    """Labels with a lower score are not published; an answer without any label is `unsure`."""
    max_age: float = 0.2
    """Seconds from the stamp of a message until it is stale and dropped; 0 takes any."""
    stride: float = 0.5
    """Seconds from one window to the next, of motion, sound and video; 0: side by side."""
    sample_rate: float = 0.0
    """Hertz of sound, which its messages do not tell."""
    autostart: bool = True
    """Configure and activate at start; otherwise a lifecycle manager does."""

    def __post_init__(self) -> None:
        if self.accept_retested and not (self.selftest and self.require_verified):
            raise ConfigError(
                "the parameter `accept_retested` is true; expected `selftest` and `require_verified` with it",
                hint="`--ros-args -p accept_retested:=false`",
            )
        for name, (holds, expected) in LIMITS.items():
            value = getattr(self, name)
            if not holds(value):
                shown = f"`{value}`" if isinstance(value, str) else f"{value:g}"
                raise ConfigError(
                    f"the parameter `{name}` is {shown}; expected {expected}", hint=f"`--ros-args -p {name}:=...`"
                )

    @classmethod
    def defaults(cls) -> dict[str, Value]:
        """Every parameter with its default."""
        return {field.name: field.default for field in fields(cls)}  # type: ignore[misc]

    @classmethod
    def of(cls, values: Mapping[str, object]) -> NodeSettings:
        """From the values that ROS holds; a whole number may stand for seconds.

        Raises:
            ConfigError: another type, or a value outside its limits.
        """
        read = {name: _typed(name, values.get(name, default), default) for name, default in cls.defaults().items()}
        return cls(**read)


def _typed(name: str, value: Any, default: Value) -> Any:
    if type(value) is type(default):
        return value
    if isinstance(default, float) and type(value) is int:
        return float(value)
    raise ConfigError(
        f"the parameter `{name}` is {value!r:.60}, a {type(value).__name__}; expected a {type(default).__name__}",
        hint=f"as its default: `--ros-args -p {name}:={str(default).lower() or 'TEXT'}`",
    )


LIMITS: dict[str, tuple[Callable[..., bool], str]] = {
    "bundle": (bool, "the folder of a bundle"),
    "transport": (TRANSPORTS.__contains__, " or ".join(f"`{one}`" for one in TRANSPORTS)),
    "threads": (lambda value: 0 <= value <= 1024, "0 to 1024"),
    "top_k": (lambda value: 1 <= value <= 10_000, "1 to 10000"),
    "min_score": (lambda value: 0 <= value <= 1, "0 to 1"),
    "max_age": (lambda value: 0 <= value <= 86400, "0 to 86400 s"),
    "stride": (lambda value: 0 <= value <= 86400, "0 to 86400 s"),
    "sample_rate": (lambda value: 0 <= value <= 1e6, "0 to 1000000 Hz"),
}
