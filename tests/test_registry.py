"""Unknown names get the nearest known one."""

from __future__ import annotations

import pytest

from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose, load_encoder_class


def test_nearest_match() -> None:
    with pytest.raises(ConfigError, match="unknown encoder `bindlight`; expected one of: `bindlite`") as caught:
        load_encoder_class("bindlight")
    assert caught.value.hint == "did you mean `bindlite`?"


def test_known_names() -> None:
    assert choose("number", "one", {"one": 1}) == 1
    assert load_encoder_class("bindlite").__name__ == "Bindlite"
