"""A refusal of a sensor's data says what was found and, in its hint, what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from advcal_edge.errors import InputError


@contextmanager
def refused(match: str) -> Iterator[pytest.ExceptionInfo[InputError]]:
    """What is inside raises an InputError whose message matches, on one line, with a hint."""
    with pytest.raises(InputError, match=match) as refusal:
        yield refusal
    assert_helpful(refusal.value)


@contextmanager
def taken_or_refused() -> Iterator[None]:
    """What is inside raises nothing, or an InputError with a hint."""
    try:
        yield
    except InputError as error:
        assert_helpful(error)


def assert_helpful(error: InputError) -> None:
    assert error.hint, f"no hint: {error.message}"
    assert len(error.message) < 1000, error.message
