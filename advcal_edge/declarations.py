"""What users say of a sensor: units, order of columns, holes. Each is a setting `input.NAME` kept in the manifest.

Nothing of this can be seen in a file: 16 bits are millimetres to one camera and 1/5000 metre to another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from advcal_edge.errors import ConfigError

Setting: TypeAlias = float | str
"""Value of a setting: a number, or the name of one, or words."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """One property of a sensor: what it is, its values, and the one that holds unless another is declared."""

    about: str
    default: Setting
    names: Mapping[str, float] = field(default_factory=dict)
    """Numbers that have names, like those of cameras; any other positive number may be given too."""
    words: tuple[str, ...] = ()
    """All values, if they are words."""
    pattern: str = ""
    """Regular expression of all values, if they are text."""
    example: str = ""

    def read(self, name: str, value: object) -> Setting:
        """A value as the manifest keeps it.

        Raises:
            ConfigError: none that this property can have.
        """
        if isinstance(value, float | int) and not isinstance(value, bool) and (self.pattern or self.words):
            value = f"{value:g}"
        if isinstance(value, str):
            if value == self.default or value in self.words or value in self.names:
                return value
            if self.pattern and re.fullmatch(self.pattern, value):
                return value
        elif is_finite(value) and not (self.pattern or self.words):
            number = float(value)  # type: ignore[arg-type]
            if number > 0 or number == self.default:
                return number
        raise ConfigError(f"`input.{name}` is {value!r}; expected {self.expected}", hint=f"{name}: {self.about}")

    @property
    def expected(self) -> str:
        """Its values as text."""
        if self.words:
            return f"one of {', '.join(self.words)}"
        if self.pattern:
            return f"text like `{self.example}`"
        named = f", or one of {', '.join(self.names)}" if self.names else ""
        return f"a positive number{named}"

    def number(self, value: Setting) -> float:
        """A value as a number: itself, or the one that it names."""
        return self.names[value] if isinstance(value, str) else value


GRAVITY = 9.80665
"""m/s2, the standard acceleration of gravity."""

NUMBERS = r"-?[0-9.]+(e-?[0-9]+)?|nan|inf|-inf"

DECLARATIONS: Mapping[str, Declaration] = {
    "depth_scale": Declaration(
        "metres of one count of a 16-bit depth frame, or of one unit of a float frame",
        "",
        names={"mm": 1e-3, "m": 1.0, "tum": 1 / 5000, "kitti": 1 / 256, "l515": 2.5e-4, "d405": 1e-4, "sunrgbd": 1e-3},
    ),
    "kelvin_per_count": Declaration(
        "kelvin of one count of a radiometric camera; `raw`: counts have no known unit",
        "lepton",
        names={"lepton": 0.01, "boson": 0.01, "flir-tlinear-high": 0.04, "flir-tlinear-low": 0.4, "raw": 0.0},
    ),
    "kelvin_offset": Declaration(
        "kelvin at count 0: 0 for counts of kelvin, 273.15 for counts of degrees Celsius", 0.0
    ),
    "significant_bits": Declaration("bits that a 16-bit picture uses, 12 for many cameras; 0: all of them", 0.0),
    "byte_order": Declaration(
        "`swapped`: the two bytes of each 16-bit value were stored in the wrong order",
        "stored",
        words=("stored", "swapped"),
    ),
    "invalid": Declaration(
        "values that are holes, and rows of telemetry to cut off: `rows:2` at the top, `rows:-2` at the bottom",
        "",
        pattern=rf"(({NUMBERS}|rows:-?[0-9]{{1,4}}|origin)(,|$))+",
        example="0,65535,rows:-2",
    ),
    "accel_unit": Declaration(
        "unit of acceleration, or m/s2 of one count", "m/s2", names={"m/s2": 1.0, "g": GRAVITY, "mg": GRAVITY / 1000}
    ),
    "gyro_unit": Declaration(
        "unit of angular rate, or rad/s of one count",
        "rad/s",
        names={"rad/s": 1.0, "deg/s": math.radians(1), "mdeg/s": math.radians(1e-3)},
    ),
    "time_unit": Declaration(
        "unit of time stamps, or seconds of one tick", "s", names={"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    ),
    "columns": Declaration(
        "names of the columns of a table or an array, in order; `-` is one to leave out",
        "",
        pattern=r"[a-z-]+(,[a-z-]+){2,31}",
        example="t,gx,gy,gz,ax,ay,az",
    ),
    "assume_units": Declaration(
        "`yes`: data that contradict their unit are read all the same", "no", words=("no", "yes")
    ),
}
"""By name of the setting."""


def defaults(*names: str) -> dict[str, Setting]:
    """What holds unless another is declared."""
    return {name: DECLARATIONS[name].default for name in names}


def read_setting(name: str, value: object) -> Setting:
    """A setting of a sensor, as the manifest keeps it: one of `DECLARATIONS`, or a finite number.

    Raises:
        ConfigError: something else.
    """
    if name in DECLARATIONS:
        return DECLARATIONS[name].read(name, value)
    if not is_finite(value):
        raise ConfigError(f"`input.{name}` is {value!r}; expected a finite number")
    return float(value)  # type: ignore[arg-type]


def is_finite(value: object) -> bool:
    """Is it a finite number?"""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
