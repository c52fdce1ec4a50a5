"""How much shared memory Fast DDS has for what a process publishes, against the size of a frame."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from advcal_edge.errors import ConfigError
from advcal_edge.provenance import package_version

PROFILE = Path(__file__).parent / "large_frames.xml"
"""A profile with enough for a colour frame of 1920 x 1080."""

DEFAULT_SEGMENT = 512 * 1024
"""Bytes that Fast DDS reserves by default."""

VARIABLE, BEFORE = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
"""Names the profile: Fast DDS 3 (from Kilted on) and those before it (Humble, Jazzy). With both, 3 reads it twice and
complains."""

FAST_DDS_3 = 9
"""Major version of rclpy in Kilted."""

COMMON_FRAME = 640 * 480 * 3

PROFILE_BYTES = 1 << 20


def profile_variable() -> str:
    """The variable that the installed Fast DDS reads, by the version of rclpy."""
    version = package_version("rclpy")
    return BEFORE if version is not None and int(version.partition(".")[0]) < FAST_DDS_3 else VARIABLE


def segment_bytes(environment: Mapping[str, str]) -> int:
    """Bytes of shared memory by the profile that the environment names, or Fast DDS's own default.

    Raises:
        ConfigError: the profile cannot be read.
    """
    read = (BEFORE,) if profile_variable() == BEFORE else (VARIABLE, BEFORE)
    path = next((environment[name] for name in read if environment.get(name)), None)
    if path is None:
        return DEFAULT_SEGMENT
    try:
        with Path(path).open("rb") as file:
            text = file.read(PROFILE_BYTES).decode(errors="replace")
    except OSError as error:
        raise ConfigError(f"Fast DDS's profile `{path}` cannot be read: {error}", hint=set_profile()) from error
    sizes = [int(size) for size in re.findall(r"<segment_size>\s*(\d{1,15})\s*</segment_size>", text)]
    return max(sizes, default=DEFAULT_SEGMENT)


def set_profile() -> str:
    """The command that gives a process enough."""
    return f"export {profile_variable()}={PROFILE}"
