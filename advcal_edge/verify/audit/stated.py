"""A report from elsewhere, read without trust: every value knows its place, and what is malformed is said in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import BundleError

LARGEST = 2**53  # beyond it other readers of JSON round integers
SHOWN = 60  # characters of a value that a message repeats


@dataclass(frozen=True, slots=True)
class Stated:
    """What a document says at `path`."""

    value: Any
    path: str = ""

    def __getitem__(self, key: str) -> Stated:
        """An entry of an object.

        Raises:
            BundleError: no object, or it lacks the key.
        """
        if key not in self.object():
            raise self.malformed(f"lacks `{key}`")
        return Stated(self.value[key], f"{self.path}.{key}" if self.path else key)

    def has(self, key: str) -> bool:
        """Whether an object has the key.

        Raises:
            BundleError: no object.
        """
        return key in self.object()

    def object(self) -> Mapping[str, Any]:
        """The value as an object.

        Raises:
            BundleError: something else.
        """
        if not isinstance(self.value, Mapping) or not all(isinstance(key, str) for key in self.value):
            raise self.expected("an object")
        return self.value

    def items(self) -> list[Stated]:
        """Entries of a list.

        Raises:
            BundleError: no list.
        """
        if not isinstance(self.value, list):
            raise self.expected("a list")
        return [Stated(value, f"{self.path}[{k}]") for k, value in enumerate(self.value)]

    def integer(self) -> int:
        """A whole number from 0 on.

        Raises:
            BundleError: something else.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not 0 <= self.value < LARGEST:
            raise self.expected("a whole number")
        return self.value

    def number(self) -> float:
        """A finite number.

        Raises:
            BundleError: something else.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)) or not abs(self.value) < LARGEST:
            raise self.expected("a finite number")
        return float(self.value)

    def text(self) -> str:
        """Words.

        Raises:
            BundleError: something else.
        """
        if not isinstance(self.value, str):
            raise self.expected("text")
        return self.value

    def truth(self) -> bool:
        """True or false.

        Raises:
            BundleError: something else.
        """
        if not isinstance(self.value, bool):
            raise self.expected("true or false")
        return self.value

    def flags(self, n: int | None = None) -> NDArray[np.bool_]:
        """One bit a sample (n,).

        Raises:
            BundleError: other characters than 0 and 1, none at all, or another number of them.
        """
        text = self.text()
        if not text or set(text) - {"0", "1"}:
            raise self.expected("characters 0 and 1, one a sample")
        if n is not None and len(text) != n:
            raise self.malformed(f"has {len(text)} characters; expected {n}, one a sample")
        found: NDArray[np.bool_] = np.frombuffer(text.encode("ascii"), np.uint8) == ord("1")
        return found

    def expected(self, kind: str) -> BundleError:
        """That the value is of another kind."""
        return self.malformed(f"is {shown(self.value)}; expected {kind}")

    def malformed(self, words: str) -> BundleError:
        """That something is wrong with the shape of the document."""
        return BundleError(f"the report is malformed: `{self.path or 'it'}` {words}", hint="verify again")


def shown(value: object) -> str:
    """A value in a few characters, whatever it is."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):  # Python refuses to write very long ones
        return str(value) if abs(value) < LARGEST else f"a number of {value.bit_length()} bits"
    if isinstance(value, float):
        return f"{value:.10g}" if math.isfinite(value) else "not finite"
    if isinstance(value, str):
        return value if len(value) <= SHOWN else f"{value[: SHOWN - 3]}..."
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"
