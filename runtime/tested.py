"""Is a report about the files of this bundle? Compares the hashes that a report states with those in the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.errors import BundleError
from advcal_edge.manifest import MANIFEST
from advcal_edge.precision import BACKWARD_GRAPH
from advcal_edge.storage import canonical, sha256_bytes

if TYPE_CHECKING:
    from advcal_edge.report.value import Value

ADAPTER = "adapter.safetensors"
TORCH = "torch"
PROBE, CENTERS = "probe.npz", "centers.safetensors"


def other_files(bundle: Bundle, measured: Value) -> Iterator[tuple[Value, str]]:
    """Every hash of a report that is not that of the bundle: calibration, samples, centers, gradient and graph.

    The engine is left out: whoever has its bytes compares them.

    Raises:
        BundleError: malformed.
    """
    files: Mapping[str, Mapping[str, Any]] = bundle.manifest["files"]
    hashes = measured["hashes"]
    wanted = {"bundle": bundle.origin(), **{key: files.get(name, {}).get("sha256") for key, name in LISTED.items()}}
    for key, sha256 in wanted.items():
        if hashes[key].sha256() != sha256:
            yield hashes[key], sha256 or "a file that the bundle lists"
    allowed = gradient_digests(bundle, measured["engine"])
    gradient = hashes["gradient"]
    if gradient.value is None or gradient.sha256() not in allowed:
        yield gradient, " or ".join(sorted(allowed)) or "a backward pass of this bundle"
    yield from other_samples(bundle, measured)
    yield from other_figures(bundle, measured["calibration"])


LISTED: Mapping[str, str] = {"data": PROBE, "centers": CENTERS}
"""Hashes of a report that are those of a listed file."""


def other_samples(bundle: Bundle, measured: Value) -> Iterator[tuple[Value, str]]:
    """Compare number and partners of the samples with what the manifest says of the probe, which is not read."""
    about = bundle.manifest.get("data")
    if not isinstance(about, Mapping):
        return
    held_out, truth = about.get("held_out"), measured["truth"]
    if isinstance(held_out, int) and len(truth.items()) > held_out:
        yield truth, f"at most the {held_out} samples of the bundle"
    if about.get("partner") is not None and measured.get("retrieval") is None:
        yield truth, "with the ranks of their partners in `retrieval`"


def other_figures(bundle: Bundle, stated: Value) -> Iterator[tuple[Value, str]]:
    """Compare the figures that the reference was held against with those that the manifest states.

    Raises:
        BundleError: the manifest contradicts itself.
    """
    from advcal_edge.report.calibration import stated_figures

    figures = stated_figures(bundle.manifest, f"`{bundle.path / MANIFEST}`")
    if figures is None or stated.value is None:
        yield stated, "the figures of a calibration, in the manifest and here"
        return
    for name, figure in figures.items():
        if stated[name].value != figure:
            yield stated[name], f"{figure}, as the manifest states"


def gradient_digests(bundle: Bundle, engine: Value) -> set[str]:
    """Hashes that the backward pass of a report can have, by where the engine's gradient is said to come from."""
    from advcal_edge.runtime.engine import listed_digest  # which imports this package's reports for `auto`

    source = engine.get("gradient_from")
    if source is not None and source.text() == TORCH:
        try:
            return {module_digest(bundle)}
        except BundleError:
            return set()
    if source is not None and source.text() == "plan":
        return {entry["sha256"] for name, entry in bundle.manifest["files"].items() if name.startswith("engines/")}
    return {listed_digest(bundle, BACKWARD_GRAPH)} if bundle.has(BACKWARD_GRAPH) else set()


def module_digest(bundle: Bundle) -> str:
    """SHA-256 that identifies the torch module of a bundle: of the hashes of its encoder's weights and its adapter.

    It is what `hashes.gradient` of a report states if the backward pass was torch's. Both are compared with the files
    before the module is built, and without torch they can be compared with the bundle again.

    Raises:
        BundleError: the bundle has no encoder or no adapter.
    """
    if bundle.comparison is not None:  # the encoder as it is
        return sha256_bytes(canonical({"encoder": bundle.section("encoder")["weights_sha256"]}))
    if not bundle.has(ADAPTER):
        raise BundleError(f"bundle `{bundle.path}` has no `{ADAPTER}`", hint="use the bundle that `calibrate` wrote")
    weights = bundle.section("encoder")["weights_sha256"]
    return sha256_bytes(canonical({"adapter": bundle.manifest["files"][ADAPTER]["sha256"], "encoder": weights}))
