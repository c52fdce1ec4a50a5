"""Values that have broken parsers before: one table, drawn from by every mutation of structured files."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

BAIT = "fuzz_bait"
"""A module that nothing but a manifest's wish would import; it lies on the path of every worker."""

CONTROLS: Sequence[str] = ("\x1b[2J\x1b]0;owned\x07", "\r\n\x08\x7f", "\x9b31m", "\u202e\u2066txet", "a\u2028b\u2029c")

NAMES: Sequence[str] = (
    "builtins:exec",
    "builtins:eval",
    "builtins:print",
    "builtins:exit",
    "os:system",
    "os:abort",
    "os:_exit",
    "sys:exit",
    "subprocess:call",
    "shutil:rmtree",
    "pathlib:Path.touch",
    "antigravity:geohash",
    f"{BAIT}:factory",
    ":",
    "a:",
    ":b",
    "a.b.c:d.e",
    ".:x",
    "..relative:x",
    "advcal_edge.cli:main",
    "imagebind",
    "languagebind",
    "unibind",
)

PATHS: Sequence[str] = (
    "..",
    "../outside",
    "../../../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/mem",
    "/proc/self/environ",
    "..\\outside",
    "a\\..\\..\\b",
    "nul\0byte",
    "",
    ".",
    "./",
    "//",
    "onnx/../../outside",
    "manifest.json",
    "onnx",
    "a/" * 2000,
    "x" * 300,
    "~root",
    "$HOME",
    "-rf",
    "--help",
    "trap",
    "link",
    "http://localhost/x",
)

NUMBERS: Sequence[Any] = (
    0, -1, 1, 2, 3, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**18,
    10**400, -(10**400), 0.0, -0.0, 0.5, 1e-300, 5e-324, 1e300, 1.7976931348623157e308, -1e300, 1e-30,
    float("nan"), float("inf"), float("-inf"), 1.5, -0.5, True, False,
)  # fmt: skip

TEXTS: Sequence[str] = (
    "",
    " ",
    "null",
    "nan",
    "1e999",
    "0x10",
    "٣",
    "²",
    "1_000",
    "\ud800",
    "a\udfffb",
    "\0",
    "\ufeff",
    "\U0010ffff",
    "e\u0301" * 40,
    "%s%n%x{}{0.__class__}",
    "{{7*7}}<script>alert(1)</script>",
    "`x`\n\nhint: rm -rf ~",
    "A" * 100_000,
    "9" * 5000,
    *CONTROLS,
)

WHOLES: Sequence[Any] = (None, [], {}, [[]], {"": ""}, [None] * 3, {"a": {"b": {}}}, [1, "2", None], "text")


def deep(levels: int, kind: str = "list") -> Any:
    """A value inside a value inside a value."""
    value: Any = 0
    for _ in range(levels):
        value = [value] if kind == "list" else {"a": value}
    return value


def poison(rng: Random) -> Any:
    """Any of them."""
    choice = rng.randrange(12)
    if choice < 3:
        return rng.choice(NUMBERS)
    if choice < 5:
        return rng.choice(TEXTS)
    if choice < 7:
        return rng.choice(PATHS)
    if choice < 8:
        return rng.choice(NAMES)
    if choice < 10:
        return rng.choice(WHOLES)
    if choice < 11:
        return deep(rng.choice((3, 20, 63, 64, 65, 100, 900)), rng.choice(("list", "object")))
    return [rng.choice(NUMBERS)] * rng.choice((1, 7, 1000, 20_000))


def near(value: Any, rng: Random) -> Any:
    """Something that a check of types alone lets through: of the same type, and wrong."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)) and not abs(value) < 1e300:
        return rng.choice(NUMBERS)
    if isinstance(value, int):
        return rng.choice((-value, value + 1, value - 1, value * 2, value * 10**6, 0, 2**31, 2**62, float(value)))
    if isinstance(value, float):
        return rng.choice((-value, value + 1, value * 1e6, value / 1e6, 0.0, 1e300, 1e-300, round(value)))
    if isinstance(value, str):
        cut = rng.randrange(len(value) + 1)
        return rng.choice(
            (value[:cut], value + value, value[::-1], value.upper(), f" {value}\n", value[:cut] + rng.choice(TEXTS))
        )
    if isinstance(value, list):
        return rng.choice((value[:-1], value + value, value[::-1], [value], value * 300, [*value, None]))
    if isinstance(value, dict):
        kept = list(value.items())[:: rng.choice((1, 2, -1))]
        return rng.choice((dict(kept), [*value], {**value, rng.choice(TEXTS): 0}, {"": value}))
    return rng.choice(NUMBERS)
