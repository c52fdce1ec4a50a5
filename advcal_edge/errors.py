"""Every error a user can meet: what was found, what was expected, where, and a hint with the command that mends it."""

from __future__ import annotations


class AdvcalError(Exception):
    """Base of all errors that this package raises on purpose.

    The message says what was found, what was expected and where; `hint` says what to run or change next.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(AdvcalError):
    """A setting that cannot be honoured: unknown key, impossible combination, value out of range."""


class InputError(AdvcalError):
    """Sensor data or a data set that cannot be used: unreadable, wrong shape, NaN, out of bounds."""


class BundleError(AdvcalError):
    """A bundle that is missing, corrupt, tampered with, or written by an unknown schema."""


class BundleInUseError(BundleError):
    """A bundle, or the folder of a run, that another process writes just now."""


class BundleChangedError(BundleError):
    """A bundle that another command changed while this one worked on it."""


class EngineError(AdvcalError):
    """A graph or engine that cannot be loaded, or that does not fit the bundle it is used with."""


class ExportError(AdvcalError):
    """A graph that cannot be exported, or one that is broken."""


class FidelityError(ExportError):
    """An exported graph that does not compute what the module computes."""


class DependencyError(AdvcalError):
    """An optional package is not installed; the hint names the extra that brings it."""

    def __init__(self, package: str, *, extra: str, purpose: str, hint: str | None = None) -> None:
        super().__init__(
            f"{purpose} needs the package `{package}`, which is not installed",
            hint=hint or f"pip install 'advcal-edge[{extra}]'",
        )
        self.package = package
        self.extra = extra


def first_line(error: Exception) -> str:
    """The part of a foreign message that people can use: its first line, or its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
