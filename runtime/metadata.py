"""The metadata beside a plan: its builder, device and source graph; read before the plan is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from advcal_edge.documents import read_object
from advcal_edge.errors import EngineError
from advcal_edge.limits import DOCUMENT_BYTES
from advcal_edge.runtime.backends.trt_api import SOURCES, Product, Version, dotted
from advcal_edge.runtime.engine_file import export_command

SCHEMA = "advcal-edge/plan/1"
RTX_TARGETS = (8, 0)  # a plan of TensorRT-RTX without named targets runs on this compute capability and later ones

Capability = tuple[int, int]

KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("sha256", "kind", "graph", "graph_sha256", "product", "hardware"), (str,)),
    **dict.fromkeys(("precision", "achieved", "evidence"), (str,)),
    **dict.fromkeys(("version_compatible", "unfused"), (bool,)),
    **dict.fromkeys(("version", "targets", "flags"), (list,)),
    **dict.fromkeys(("timing_cache", "step"), (str, type(None))),
    **dict.fromkeys(("profiles", "layers"), (dict,)),
    "device": (dict, type(None)),
    "bytes": (int,),
    "memory": (int, type(None)),
    "seconds": (int, float),
}
"""Types of the values in JSON."""


@dataclass(frozen=True, slots=True)
class Device:
    """A CUDA device, by its own name."""

    name: str
    capability: Capability

    def __str__(self) -> str:
        return f"{self.name} (compute capability {dotted(self.capability)})"


@dataclass(frozen=True, slots=True)
class EngineMetadata:
    """All properties of a plan, and where it runs; batches in `profiles` are (min, opt, max) shapes."""

    sha256: str
    bytes: int
    kind: str  # forward or vjp
    graph: str
    graph_sha256: str
    product: str
    version: Version
    device: Device | None  # None if it was built on a machine without one
    targets: tuple[Capability, ...]  # TensorRT-RTX: compute capabilities it was compiled for; empty for the default
    hardware: str  # none, ampere+ or same-capability
    version_compatible: bool
    profiles: Mapping[str, tuple[tuple[int, ...], ...]]
    flags: tuple[str, ...]
    memory: int | None  # MiB that the builder was allowed to use
    timing_cache: str | None  # sha256 of the timing cache after the build
    precision: str  # as requested
    achieved: str
    evidence: str  # `engine`: read from the plan by its inspector; `network`: from the typed network it was built from
    layers: Mapping[str, str]  # matrix product of the graph -> precision
    step: str | None  # of the precision fallback; None without a fallback
    unfused: bool  # softmax and norms are outputs too, so that they are not fused into other kernels
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain types, schema first."""
        return {"schema": SCHEMA, **asdict(self)}

    def in_report(self) -> dict[str, Any]:
        """The fields that a report repeats, by their names there."""
        return {
            "product": self.product,
            "version": list(self.version),
            "device": None if self.device is None else str(self.device),
            "graph": self.graph,
            "graph_sha256": self.graph_sha256,
            "asked": self.precision,
            "evidence": self.evidence,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EngineMetadata:
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: malformed.
        """
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema is `{data['schema']}`; expected `{SCHEMA}`")
        values = {field.name: data[field.name] for field in fields(cls)}
        for name, kinds in KINDS.items():
            if type(values[name]) not in kinds:
                raise ValueError(f"`{name}` is a {type(values[name]).__name__}")
        if values["product"] not in SOURCES:
            raise ValueError(f"`product` is none of {', '.join(SOURCES)}")
        if values["bytes"] < 0 or (values["memory"] or 0) < 0 or values["seconds"] < 0:
            raise ValueError("a negative number")
        if not all(type(number) is int for number in values["version"]):
            raise ValueError(f"`version` is {values['version']}")
        if not all(isinstance(value, str) for value in values["layers"].values()):
            raise ValueError("`layers` has values other than names of types")
        device = values["device"]
        return cls(
            **{
                **values,
                "version": tuple(map(int, values["version"])),
                "device": None if device is None else Device(str(device["name"]), pair(device["capability"])),
                "targets": tuple(pair(target) for target in values["targets"]),
                "profiles": {
                    str(name): tuple(tuple(map(int, shape)) for shape in shapes)
                    for name, shapes in values["profiles"].items()
                },
                "flags": tuple(map(str, values["flags"])),
            }
        )

    def misfit(self, product: Product, device: Device) -> str | None:
        """Why the plan does not run on `device` under `product`; None if it does."""
        built_by = f"{SOURCES[self.product].title} {dotted(self.version)}"
        if self.product != product.name:
            return f"it was built by {built_by}; this machine has {product}"
        newer = self.version_compatible and product.version >= self.version
        if self.version != product.version and not newer:
            return f"it was built by {built_by}; this machine has {product}, and plans do not move between versions"
        if self.product == "tensorrt_rtx":
            named = device.capability in self.targets if self.targets else device.capability >= RTX_TARGETS
            wanted = ", ".join(map(dotted, self.targets)) or f"{dotted(RTX_TARGETS)} and later"
            return None if named else f"it was built for compute capability {wanted}; this is {device}"
        if self.device is None or device == self.device:
            return None
        if self.hardware == "same-capability" and device.capability == self.device.capability:
            return None
        if self.hardware == "ampere+" and device.capability >= (8, 0):
            return None
        return f"it was built on {self.device}; this is {device}, and plans do not move between devices"


def pair(value: Any) -> Capability:
    """Read a compute capability from JSON."""
    major, minor = value
    if type(major) is not int or type(minor) is not int:
        raise ValueError(f"a compute capability of {value}")
    return major, minor


def metadata_path(plan: Path) -> Path:
    """Path of the metadata of a plan."""
    return plan.with_suffix(".json")


def read_metadata(plan: Path) -> EngineMetadata | None:
    """The metadata beside a plan; None if there are none.

    Raises:
        EngineError: the file exists and cannot be read.
    """
    path = metadata_path(plan)
    if not path.is_file():
        return None
    try:
        return EngineMetadata.from_json(read_object(path, DOCUMENT_BYTES, EngineError))
    except (EngineError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EngineError(
            f"`{path}` is no description of a plan: {error}", hint=f"build it again: {export_command(path, '--trt')}"
        ) from error
