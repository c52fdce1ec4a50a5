"""Build targets: a preset of the package, or a user's TOML file of the same form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from advcal_edge.config import Layer, read_toml, resolve
from advcal_edge.errors import ConfigError
from advcal_edge.registry import unknown
from advcal_edge.runtime.metadata import Capability

PRESETS = ("jetson-orin", "jetson-thor", "server", "rtx")
ProductName = Literal["tensorrt", "tensorrt_rtx"]
Hardware = Literal["none", "ampere+", "same-capability"]


@dataclass(frozen=True, slots=True)
class Target:
    """Settings of a build; lists are comma-separated, as on the command line."""

    product: ProductName = "tensorrt"
    precisions: str = ""  # forward plans; empty: of every graph in the bundle
    gradient: bool = True  # also build a plan of the backward graph, for attacks on the device
    batch: str = "1,8,32"  # samples: smallest, optimal, largest
    memory: int | None = None  # MiB that the builder may use
    deterministic: bool = False
    version_compatible: bool = False
    hardware: Hardware = "none"
    capabilities: str = ""  # TensorRT-RTX: compute capabilities like `8.6, 8.9`; empty: 8.0 and later

    def options(self) -> BuildOptions:
        """The same settings, checked and typed.

        Raises:
            ConfigError: an invalid batch, or settings that exclude each other.
        """
        if self.product == "tensorrt_rtx" and self.hardware != "none":
            raise ConfigError(
                f"`--hardware {self.hardware}` and TensorRT-RTX exclude each other: it has no such levels",
                hint='name compute capabilities in a TOML file: `capabilities = "8.6, 8.9"`',
            )
        if self.product == "tensorrt" and self.capabilities:
            raise ConfigError(
                "`capabilities` is a setting of TensorRT-RTX; TensorRT builds for the device it runs on",
                hint='remove it, or set `product = "tensorrt_rtx"`',
            )
        if self.memory is not None and self.memory < 1:
            raise ConfigError(f"`--memory` is {self.memory}; expected MiB, at least 1")
        return BuildOptions(
            batch=parse_batch(self.batch),
            memory=self.memory,
            deterministic=self.deterministic,
            version_compatible=self.version_compatible,
            hardware=self.hardware,
            capabilities=tuple(map(parse_capability, words(self.capabilities))),
        )


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How one plan is built; `batch` is (min, opt, max) samples, `memory` MiB."""

    batch: tuple[int, int, int] = (1, 8, 32)
    memory: int | None = None
    deterministic: bool = False
    version_compatible: bool = False
    hardware: Hardware = "none"
    capabilities: tuple[Capability, ...] = ()
    break_fusions: bool = False
    step: str | None = None  # of the precision fallback, for the metadata


def load_target(name: str | None, settings: Sequence[Layer] = ()) -> Target:
    """Preset or file `name`, or the defaults, overridden by `settings`.

    Raises:
        ConfigError: neither a preset nor a file, unknown keys, or values of the wrong type.
    """
    return resolve(Target, [*([] if name is None else [read_toml(find_preset(name))]), *settings])


def find_preset(name: str) -> Path:
    """Path of a preset of this package, or of a user's file.

    Raises:
        ConfigError: neither exists.
    """
    if name in PRESETS:
        return Path(str(files("advcal_edge.export") / "presets" / f"{name}.toml"))
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    known = unknown("target", name, PRESETS)
    copies = f"or the path of a TOML file like those in `{files('advcal_edge.export')}/presets`"
    raise ConfigError(known.message, hint=f"{known.hint} {copies}" if known.hint else copies)


def parse_batch(text: str) -> tuple[int, int, int]:
    """Read `1,8,32`.

    Raises:
        ConfigError: not three ascending whole numbers.
    """
    parts = words(text)
    if len(parts) == 3 and all(re.fullmatch("[0-9]{1,9}", part) for part in parts):
        low, best, high = map(int, parts)
        if 1 <= low <= best <= high:
            return low, best, high
    raise ConfigError(f"`--batch` is `{text}`; expected `min,opt,max` in rising order", hint="like `--batch 1,8,32`")


def parse_capability(text: str) -> Capability:
    """Read `8.6`.

    Raises:
        ConfigError: not a compute capability.
    """
    match = re.fullmatch(r"([0-9]{1,3})\.([0-9])", text)
    if match is None:
        raise ConfigError(f"`{text}` is no compute capability; expected one like `8.6`")
    return int(match[1]), int(match[2])


def words(text: str) -> tuple[str, ...]:
    """Split at commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
