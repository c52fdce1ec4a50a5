"""Layers of settings: order, names, types."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, strategies as st

from advcal_edge.config import Layer, parse_settings, read_toml, resolve
from advcal_edge.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    steps: int = 3
    size: float = 0.5
    careful: bool = False


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["one", "two"] = "one"
    note: str | None = None
    inner: Inner = field(default_factory=Inner)


NAMED = Layer("test", {"name": "x"})


@given(st.lists(st.dictionaries(st.sampled_from(["steps", "size"]), st.integers(0, 99)), max_size=5))
def test_the_last_layer_wins(layers: list[dict[str, int]]) -> None:
    found = resolve(Outer, [NAMED, *(Layer("test", {"inner": values}) for values in layers)]).inner
    flat = {key: value for values in layers for key, value in values.items()}
    assert (found.steps, found.size) == (flat.get("steps", 3), flat.get("size", 0.5))


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_fractions_are_numbers(numerator: int, denominator: int) -> None:
    found = resolve(Outer, [NAMED, parse_settings([f"inner.size={numerator}/{denominator}"])])
    assert found.inner.size == float(Fraction(numerator, denominator))


@given(st.integers(-(2**64), 2**64), st.booleans(), st.sampled_from(["one", "two"]), st.text(min_size=1).map(str.strip))
def test_text_and_typed_values_agree(steps: int, careful: bool, kind: str, note: str) -> None:
    """What TOML gives typed and what `--set` gives as text resolve alike."""
    typed = Layer("file", {"kind": kind, "note": note, "inner": {"steps": steps, "careful": careful}})
    text = parse_settings(
        [f"kind={kind}", f"note={note}", f"inner.steps={steps}", f"inner.careful={str(careful).lower()}"]
    )
    assert resolve(Outer, [NAMED, typed]) == resolve(Outer, [NAMED, text])


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        (["inner.stesp=1"], "unknown setting `inner.stesp`", "`inner.steps`"),
        (["iner.steps=1"], "unknown setting `iner`", "`inner`"),
        (["inner=1"], "`inner` is a section", None),
        (["inner.steps=1.5"], "`inner.steps` is `1.5`; expected a whole number", None),
        (["inner.size=wide"], "expected a number", None),
        (["inner.size=1/0"], "expected a number", None),
        (["inner.size=nan"], "expected a number", None),
        (["inner.steps=1" + "0" * 400], "expected a whole number", None),
        (["inner.size=1e999999999"], "expected a number", None),
        (["inner.size=1e999"], "expected a number|inner.size", None),
        (["inner.careful=yes"], "expected `true` or `false`", None),
        (["kind=three"], "unknown value `three`; expected one of: `one`, `two`", None),
        (["steps"], "is no setting", "train.epochs=8"),
        (["=3"], "is no setting", None),
        (["name=a", "name.b=c"], "already given a value", None),
        (["name.b=c"], "expected text", None),
    ],
)
def test_mistakes_are_named(settings: list[str], message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolve(Outer, [NAMED, parse_settings(settings)])
    assert (hint or "") in (caught.value.hint or "")


@pytest.mark.parametrize("value", [True, 1.5, "x", None, [], {}])
def test_wrong_types_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"`inner\.steps`"):
        resolve(Outer, [NAMED, Layer("file", {"inner": {"steps": value}})])


def test_required_and_optional() -> None:
    with pytest.raises(ConfigError, match="`name` is missing") as caught:
        resolve(Outer, [])
    assert caught.value.hint == "give `--name`"
    assert resolve(Outer, [NAMED, parse_settings(["note=none"])]).note is None


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('name = "x"\n[inner]\nsteps = 9\nsize = "4/255"\n')
    found = resolve(Outer, [read_toml(path), parse_settings(["inner.steps=10"])])
    assert found.inner == Inner(10, 4 / 255)
    path.write_text("[inner]\nstesp = 9\n")
    with pytest.raises(ConfigError, match=r"c\.toml.*unknown setting"):
        resolve(Outer, [NAMED, read_toml(path)])


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", None])
def test_unreadable_toml(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml"):
        read_toml(path)
