"""How much of a file from elsewhere is read at most: one number per kind, each raised by its environment variable."""

from __future__ import annotations

import os
from dataclasses import dataclass

from advcal_edge.errors import AdvcalError, ConfigError

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest amount of one thing; `ADVCAL_MAX_<name>` in the environment replaces the default."""

    name: str
    default: int
    unit: str

    @property
    def variable(self) -> str:
        """Environment variable that replaces the default."""
        return f"ADVCAL_MAX_{self.name}"

    @property
    def value(self) -> int:
        """The limit in force.

        Raises:
            ConfigError: the variable holds something other than a positive whole number.
        """
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0):
            raise ConfigError(
                f"{self.variable} is `{text[:40]}`; expected a positive whole number of {self.unit}",
                hint=f"the default is {self.default}",
            )
        return int(text)

    def check(self, found: float, where: str, kind: type[AdvcalError]) -> None:
        """Refuse more than the limit; `where` names the thing in the message.

        Raises:
            kind: `found` is larger.
        """
        if found > self.value:
            raise kind(
                f"{where} has {found:,.0f} {self.unit}; expected at most {self.value:,}",
                hint=f"if you trust it, raise the limit: `{self.variable}={found:.0f}`",
            )


JSON_DEPTH = Limit("JSON_DEPTH", 64, "levels of nesting")
MANIFEST_BYTES = Limit("MANIFEST_BYTES", 16 * MIB, "bytes")
REPORT_BYTES = Limit("REPORT_BYTES", 256 * MIB, "bytes")  # one of 100,000 samples takes about 20 MB
DOCUMENT_BYTES = Limit("DOCUMENT_BYTES", 4 * MIB, "bytes")  # any other JSON or TOML: cards, notes, settings
LABELS_BYTES = Limit("LABELS_BYTES", 16 * MIB, "bytes")
TENSOR_HEADER_BYTES = Limit("TENSOR_HEADER_BYTES", 16 * MIB, "bytes")  # names, shapes, metadata
SAMPLES_BYTES = Limit("SAMPLES_BYTES", 4096 * MIB, "bytes")  # unpacked
SAMPLES_RATIO = Limit("SAMPLES_RATIO", 200, "times its packed size")  # zeros alone pack 1,000 to 1
INPUT_VALUES = Limit("INPUT_VALUES", 64 * MIB, "values")  # of one input tensor
ENGINE_BYTES = Limit("ENGINE_BYTES", 8192 * MIB, "bytes")  # a graph, the weights beside it, or a plan, each
