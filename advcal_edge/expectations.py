"""Inputs whose answers a verified engine must repeat on a device, with the embeddings that it gave when verified.

Stored as `reports/ENGINE/selftest.npz`, beside the report that passed: the manifest lists its hash, a signature of the
bundle covers it, and like a report it changes neither what was calibrated nor what was exported.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.commands import command
from advcal_edge.documents import parse_json
from advcal_edge.errors import BundleError
from advcal_edge.probe import reading
from advcal_edge.storage import canonical

if TYPE_CHECKING:
    from advcal_edge.bundle import Bundle
    from advcal_edge.spec import TensorSpec

SCHEMA = "advcal-edge/selftest/1"
FILE = "selftest.npz"
CLEAN, TIE, ADVERSARIAL = range(3)
KINDS = ("clean", "near tie", "adversarial")
Floats = NDArray[np.float32]


def selftest_name(sha256: str) -> str:
    """Name of the file in a bundle, by the hash of the engine."""
    return f"reports/{sha256[:8]}/{FILE}"


def selftest_beside(report: str) -> str:
    """Name of the file that lies beside a report, if that stored one."""
    return f"{report.rpartition('/')[0]}/{FILE}"


@dataclass(frozen=True, slots=True, eq=False)
class Expectations:
    """Inputs x (n, ...) with class y (n,), kind (n,), and what engine and reference made of them (n, d)."""

    x: Floats
    y: NDArray[np.int64]
    kind: NDArray[np.int64]
    """Index into `KINDS`."""
    z: Floats
    reference: Floats
    sha256: str
    """Hash of the engine."""
    place: Mapping[str, str]
    """Where it was verified, see `runtime.selftest.place_of`."""

    def to_bytes(self) -> bytes:
        """As npz without pickle."""
        head = canonical({"schema": SCHEMA, "engine": self.sha256, "place": dict(self.place)}).decode()
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, head=np.array(head), x=self.x, y=self.y, kind=self.kind, z=self.z, reference=self.reference
        )
        return buffer.getvalue()

    @classmethod
    def read(cls, bundle: Bundle, sha256: str, spec: TensorSpec, width: int, classes: int) -> Expectations:
        """Those for the engine with this hash; the hash of the file is checked.

        Raises:
            BundleError: there are none, they were changed, or they do not fit the bundle.
        """
        name, hint = selftest_name(sha256), f"verify again: `{command('verify', bundle.path)}`"
        if not bundle.has(name):
            raise BundleError(f"bundle `{bundle.path}` has no `{name}`: `verify` stores it with a pass", hint=hint)
        file = bundle.checked(name)
        where = f"`{file.path}`"
        with reading(file) as archive:
            head = parse_json(str(archive.array("head")), f"`head` of {where}", BundleError, hint=hint)
            arrays: dict[str, NDArray[Any]] = {key: archive.array(key) for key in ("x", "y", "kind", "z", "reference")}
        if not isinstance(head, dict) or head.get("schema") != SCHEMA or head.get("engine") != sha256:
            found = json.dumps(head)[:100]
            raise BundleError(f"{where} says {found}; expected `{SCHEMA}` about engine {sha256[:12]}", hint=hint)
        place = head.get("place")
        if not isinstance(place, dict) or not all(isinstance(value, str) for value in place.values()):
            raise BundleError(f"{where} does not say where the engine was verified", hint=hint)
        n = len(arrays["x"]) if arrays["x"].ndim else 0
        shapes = {"x": (n, *spec.shape), "y": (n,), "kind": (n,), "z": (n, width), "reference": (n, width)}
        for key, shape in shapes.items():
            dtype, array = np.int64 if key in ("y", "kind") else np.float32, arrays[key]
            if not n or array.shape != shape or array.dtype != dtype or not np.isfinite(array).all():
                raise BundleError(
                    f"`{key}` of {where} is {array.dtype} {array.shape}; expected finite {np.dtype(dtype)} {shape}",
                    hint=hint,
                )
        for key, above in (("y", classes), ("kind", len(KINDS))):
            if arrays[key].min() < 0 or arrays[key].max() >= above:
                raise BundleError(f"`{key}` of {where} lies outside 0 to {above - 1}", hint=hint)
        x, y, kind = spec.check(arrays["x"]), arrays["y"], arrays["kind"]
        return cls(x, y, kind, arrays["z"], arrays["reference"], sha256, place)
