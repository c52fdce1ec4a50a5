"""Fast DDS's shared memory: by default too small for a picture, with the profile of the package large enough."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from advcal_edge.errors import ConfigError
from advcal_edge.robot.fast_dds import (
    BEFORE,
    COMMON_FRAME,
    DEFAULT_SEGMENT,
    PROFILE,
    VARIABLE,
    segment_bytes,
    set_profile,
)

FULL_HD = 1920 * 1080 * 3


def test_the_profile_holds_a_large_frame() -> None:
    assert segment_bytes({}) == DEFAULT_SEGMENT < COMMON_FRAME
    for name in (VARIABLE, BEFORE):
        assert segment_bytes({name: str(PROFILE)}) > 2 * FULL_HD
    transports = ElementTree.parse(PROFILE).iter("{http://www.eprosima.com}transport_id")  # noqa: S314  # our own file
    assert sorted(one.text or "" for one in transports) == ["shared_memory", "shared_memory", "udp", "udp"]


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.xml"
    own.write_text("<a><segment_size> 4096 </segment_size></a>")
    assert segment_bytes({VARIABLE: str(own)}) == 4096
    own.write_text("<a/>")
    assert segment_bytes({VARIABLE: str(own)}) == DEFAULT_SEGMENT
    with pytest.raises(ConfigError, match="cannot be read"):
        segment_bytes({VARIABLE: str(tmp_path / "nowhere.xml")})


@pytest.mark.parametrize(
    ("rclpy", "name"), [("3.3.17", BEFORE), ("7.1.6", BEFORE), ("9.1.2", VARIABLE), (None, VARIABLE)]
)
def test_each_fast_dds_has_its_variable(rclpy: str | None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advcal_edge.robot.fast_dds.package_version", lambda package: rclpy)
    assert set_profile() == f"export {name}={PROFILE}"
    other = VARIABLE if name == BEFORE else BEFORE
    assert segment_bytes({name: str(PROFILE)}) > DEFAULT_SEGMENT
    assert (segment_bytes({other: str(PROFILE)}) == DEFAULT_SEGMENT) == (name == BEFORE)  # 3 still reads the old name
