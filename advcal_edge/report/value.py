"""Read untrusted JSON: every value knows its path, and every error names it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import BundleError

LARGEST = 2**53  # larger integers are rounded by other JSON readers
SHOWN = 60  # characters of a value shown in a message
SHA256 = re.compile("[0-9a-f]{64}")

Word = TypeVar("Word", bound=str)


@dataclass(frozen=True, slots=True)
class Value:
    """A JSON value and its path. Every reader raises `BundleError` if the value is of another kind."""

    value: Any
    path: str = ""

    def __getitem__(self, key: str) -> Value:
        """A required member of an object."""
        if key not in self.object():
            raise self.malformed(f"lacks `{key}`")
        return Value(self.value[key], f"{self.path}.{key}" if self.path else key)

    def get(self, key: str) -> Value | None:
        """An optional member of an object."""
        return self[key] if key in self.object() else None

    def object(self) -> Mapping[str, Any]:
        """An object."""
        if not isinstance(self.value, Mapping) or not all(isinstance(key, str) for key in self.value):
            raise self.expected("an object")
        return self.value

    def only(self, *keys: str) -> None:
        """Refuse an object with members other than `keys`."""
        other = sorted(self.object().keys() - set(keys))
        if other:
            raise self.malformed(f"has `{shown(other[0])}`; expected only {', '.join(keys)}")

    def items(self) -> list[Value]:
        """The items of a list."""
        if not isinstance(self.value, list):
            raise self.expected("a list")
        return [Value(value, f"{self.path}[{k}]") for k, value in enumerate(self.value)]

    def integer(self) -> int:
        """A whole number, zero or larger."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not 0 <= self.value < LARGEST:
            raise self.expected("a whole number")
        return self.value

    def number(self) -> float:
        """A finite number."""
        small = isinstance(self.value, int) and not isinstance(self.value, bool) and abs(self.value) < LARGEST
        if not small and not (isinstance(self.value, float) and math.isfinite(self.value)):
            raise self.expected("a finite number")
        return float(self.value)

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            raise self.expected("text")
        return self.value

    def texts(self) -> list[str]:
        """A list of strings."""
        return [item.text() for item in self.items()]

    def sha256(self) -> str:
        """A hash in lower-case hexadecimal."""
        if not SHA256.fullmatch(self.text()):
            raise self.expected("a sha256")
        return self.text()

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.expected("true or false")
        return self.value

    def choice(self, options: Sequence[Word]) -> Word:
        """One of `options`."""
        for option in options:
            if self.text() == option:
                return option
        raise self.expected(f"one of {', '.join(options)}")

    def flags(self, n: int | None = None) -> NDArray[np.bool_]:
        """Flags (n,) from a string of 0 and 1, one character per sample."""
        text = self.text()
        if not text or set(text) - {"0", "1"}:
            raise self.expected("characters 0 and 1, one per sample")
        if n is not None and len(text) != n:
            raise self.malformed(f"has {len(text)} characters; expected {n}, one per sample")
        read: NDArray[np.bool_] = np.frombuffer(text.encode("ascii"), np.uint8) == ord("1")
        return read

    def integers(self, n: int, below: int) -> NDArray[np.int64]:
        """Whole numbers (n,) from 0 to `below` - 1, one per sample."""
        values = self.lengthy(n)
        if not all(type(value) is int and 0 <= value < below for value in values):
            worst = next(item for item in self.items() if not item.integer() < below)
            raise worst.expected(f"a whole number below {below}")
        return np.array(values, np.int64)

    def numbers(self, n: int) -> NDArray[np.float64]:
        """Finite numbers (n,), one per sample."""
        values = self.lengthy(n)
        if not all(type(value) is float and math.isfinite(value) for value in values):
            return np.array([item.number() for item in self.items()], np.float64)
        return np.array(values, np.float64)

    def lengthy(self, n: int) -> list[Any]:
        """The values of a list of length n."""
        if not isinstance(self.value, list):
            raise self.expected("a list")
        if len(self.value) != n:
            raise self.malformed(f"has {len(self.value)} items; expected {n}, one per sample")
        return self.value

    def expected(self, kind: str) -> BundleError:
        """The error for a value of another kind."""
        return self.malformed(f"is {shown(self.value)}; expected {kind}")

    def malformed(self, words: str) -> BundleError:
        """The error for a document of another shape."""
        return BundleError(f"the report is malformed: `{self.path or 'it'}` {words}", hint="verify again")


def shown(value: object) -> str:
    """A short text for any value."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):  # Python refuses to format very long integers
        return str(value) if abs(value) < LARGEST else f"a number of {value.bit_length()} bits"
    if isinstance(value, float):
        return f"{value:.10g}" if math.isfinite(value) else "not finite"
    if isinstance(value, str):
        return value if len(value) <= SHOWN else f"{value[: SHOWN - 3]}..."
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"
