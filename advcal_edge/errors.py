"""All errors for users: what was found, what was expected, where, and a hint with the command that fixes it."""

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
    """A bundle, or the folder of a run, that another process is writing."""


class BundleChangedError(BundleError):
    """A bundle that another command changed while this one used it."""


class SignatureError(BundleError):
    """A signature or an attestation that is missing, malformed, of someone else, or about other files."""


class EngineError(AdvcalError):
    """A graph or engine that cannot be loaded, or that does not fit its bundle."""


class EngineStoppedError(EngineError):
    """An engine that was stopped, because it took more time or memory than it may."""


class ExportError(AdvcalError):
    """A graph that cannot be exported, or that is broken."""


class FidelityError(ExportError):
    """An exported graph that does not compute the same as its module."""


class NothingReducedError(ExportError):
    """A graph of which everything stays fp32, so that it would not be of the precision asked for."""


class DependencyError(AdvcalError):
    """An optional package is not installed; the hint names the extra that installs it."""

    def __init__(self, package: str, *, extra: str, purpose: str, hint: str | None = None) -> None:
        super().__init__(
            f"{purpose} needs the package `{package}`, which is not installed",
            hint=hint or f"pip install 'advcal-edge[{extra}]'",
        )
        self.package = package
        self.extra = extra


def first_line(error: Exception) -> str:
    """The useful part of a third-party message: its first line, or the error's type if it is empty."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
