"""Parameters: every one has a default, a type and limits, and a wrong one is named."""

from __future__ import annotations

import pytest

from advcal_edge.errors import ConfigError
from advcal_edge.robot import NodeSettings


def test_defaults_need_a_bundle_alone() -> None:
    assert NodeSettings.of({"bundle": "B"}) == NodeSettings("B")
    assert NodeSettings("B").require_verified
    assert {"bundle", "engine", "require_verified", "transport", "reliable", "threads", "top_k", "min_score", "max_age",
            "stride", "autostart"} <= NodeSettings.defaults().keys()  # fmt: skip


def test_a_whole_number_stands_for_seconds() -> None:
    assert NodeSettings.of({"bundle": "B", "max_age": 1}).max_age == 1.0


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("bundle", "", "folder of a bundle"),
        ("transport", "rtsp", "`raw` or `compressed`"),
        ("top_k", 0, "1 to 10000"),
        ("top_k", 2.5, "a float; expected a int"),
        ("threads", -1, "0 to 1024"),
        ("min_score", 1.5, "0 to 1"),
        ("max_age", -0.1, "0 to 86400 s"),
        ("max_age", float("nan"), "0 to 86400 s"),
        ("max_age", "soon", "a str; expected a float"),
        ("reliable", "yes", "a str; expected a bool"),
        ("reliable", 1, "a int; expected a bool"),
        ("max_age", True, "a bool; expected a float"),
    ],
)
def test_a_wrong_value_is_named_with_its_limits(name: str, value: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as refusal:
        NodeSettings.of({"bundle": "B", name: value})
    assert f"`{name}`" in refusal.value.message
    assert f"-p {name}:=" in str(refusal.value.hint)
