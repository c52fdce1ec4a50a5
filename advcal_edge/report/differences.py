"""Compare a document with what it should hold: every place where the two differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from advcal_edge.report.value import Value
from advcal_edge.storage import canonical

SLACK = 1e-9  # intervals come from bisection, and other machines round differently

Difference = tuple[Value, object]
"""A value of a document, and what should stand in its place."""


def differs(stated: Value, expected: Mapping[str, Any]) -> bool:
    """Does an object differ anywhere from what is expected?

    Raises:
        BundleError: a value of another kind than expected.
    """
    if canonical(stated.value) == canonical(expected):  # in a fraction of the time, where both come from one machine
        return False
    return any(True for _ in differences(stated, expected))


def differences(stated: Value, expected: object) -> Iterator[Difference]:
    """Every place where a value, an object or a list differs from what is expected.

    Raises:
        BundleError: a value of another kind than expected.
    """
    if expected is None or stated.value is None:
        same = stated.value is expected
    elif isinstance(expected, bool):
        same = stated.truth() is expected
    elif isinstance(expected, int):
        same = stated.integer() == expected
    elif isinstance(expected, float):
        same = math.isclose(stated.number(), expected, rel_tol=SLACK, abs_tol=SLACK)
    elif isinstance(expected, str):
        same = stated.text() == expected
    elif isinstance(expected, list):
        items = stated.items()
        same = len(items) == len(expected)
        for item, wanted in zip(items, expected, strict=False):
            yield from differences(item, wanted)
    elif isinstance(expected, Mapping):
        same = stated.object().keys() == expected.keys()
        for key in expected:
            if key in stated.object():
                yield from differences(stated[key], expected[key])
    else:
        raise TypeError(f"nothing can be compared with a {type(expected).__name__}")
    if not same:
        yield stated, expected
