"""Make a comparison folder: a bundle in form, with a reference in place of what was calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.anchor import ANCHOR, anchor_bytes
from advcal_edge.bundle import Bundle, check_destination
from advcal_edge.calibrate.config import CalibrateConfig, ThreatConfig
from advcal_edge.centers import Centers, class_means
from advcal_edge.errors import BundleError, ConfigError, InputError
from advcal_edge.manifest import SCHEMA
from advcal_edge.pair.options import PairOptions
from advcal_edge.pair.reference import Reference, open_reference
from advcal_edge.pair.samples import Labelled, read_samples
from advcal_edge.provenance import package_version
from advcal_edge.registry import choose
from advcal_edge.storage import sha256_bytes
from advcal_edge.threat import NORMS, ThreatModel, parse_eps
from advcal_edge.verify.unit import normalise

Floats = NDArray[np.float32]

LEAST = 1e-6  # temperature, if the logits hardly differ


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A comparison folder, and what its reference does with the clean samples."""

    bundle: Bundle
    centers: Centers
    attacked: int
    right: int
    """Clean samples that the reference labels correctly."""
    sees: bool
    """Is there a gradient? Without one, no verdict can be a pass."""


def make_comparison(options: PairOptions, out: Path) -> Made:
    """Read reference and samples, and write the comparison folder `out`, unless it is there already.

    >>> from advcal_edge.pair import PairOptions, make_comparison
    >>> make_comparison(PairOptions("original.onnx", Path("frames")), Path("original.comparison")).sees
    False

    Raises:
        ConfigError: options that do not go together, no such encoder, or centers of another width.
        InputError: samples that cannot be used, or of which the reference knows no more than chance.
        EngineError: a graph that cannot be used.
        BundleError: `out` holds something else, or cannot be written.
        DependencyError: a package that reads the samples or runs the reference is not installed.
    """
    check_destination(out)
    reference = open_reference(options)
    given = Centers.load(options.centers) if options.centers is not None else reference.centers
    known = options.labels if given is None else given.labels
    means = given is None and options.kind == "encoder"
    data = read_samples(options, reference.modality, known, means=means)
    raw = reference.embed(np.concatenate([data.attacked.x, data.means.x]) if means else data.attacked.x)
    if not np.isfinite(raw).all() or not np.linalg.norm(raw, axis=1).all():
        raise InputError(
            f"`{options.reference}` gives outputs that are zero or not finite for samples of `{options.data}`",
            hint="check the modality and what the model expects: x is physical, and normalised inside the model",
        )
    centers = given or (_class_means if means else _one_hot)(options, data, raw)
    if centers.dim != raw.shape[1]:
        raise ConfigError(
            f"the centers are {centers.dim} wide; `{options.reference}` gives {raw.shape[1]} numbers",
            hint="make the centers with the same model, or leave out `--centers` for class means",
        )
    z = normalise(raw)[0]
    right = _check_accuracy(options, data, centers, z)
    files = {
        **reference.files(),
        "centers.safetensors": centers.to_bytes(),
        "probe.npz": data.attacked.to_bytes(reference.modality.input),
        ANCHOR: anchor_bytes(z[: len(data.attacked)]),
    }
    bundle = _write(out, _manifest(options, reference, data, centers), files)
    return Made(bundle, centers, len(data.attacked), right, reference.sees)


def _class_means(options: PairOptions, data: Labelled, raw: Floats) -> Centers:
    z = normalise(raw[len(data.attacked) :])[0]
    source = f"class means of {len(z)} samples of `{options.data}` that are not attacked"
    return replace(class_means(z, data.means.y, data.names), source=source)


def _one_hot(options: PairOptions, data: Labelled, raw: Floats) -> Centers:
    if len(data.names) != raw.shape[1]:
        raise ConfigError(
            f"`{options.reference}` gives {raw.shape[1]} logits;"
            + (f" `--labels` has {len(data.names)} lines" if options.labels else f" `{options.data}` has")
            + ("" if options.labels else f" {len(data.names)} classes"),
            hint="one label a line, in the order of the logits: `--labels FILE`",
        )
    # labels do not depend on the temperature; with this one the scores of a usual sample spread by one, which leaves
    # the softmax of the attacks far from saturation
    spread = float(np.median(normalise(raw)[0].std(axis=1)))
    return Centers.one_hot(data.names, max(spread, LEAST), "logits of a classifier")


def _check_accuracy(options: PairOptions, data: Labelled, centers: Centers, z: Floats) -> int:
    """The number of samples that the reference labels correctly.

    Raises:
        InputError: not more than chance would: what is lost from there, nobody can see.
    """
    y, n = data.attacked.y, len(data.attacked)
    right, classes = int((centers.predict(z[:n]) == y).sum()), len(np.unique(y))
    if right * classes <= n:
        order = "the order of the labels (`--labels FILE`)" if options.kind == "classifier" else "the centers"
        raise InputError(
            f"`{options.reference}` labels {right} of {n} clean samples correctly; chance would be {n / classes:.0f}"
            f" for {classes} classes, so nothing could be lost",
            hint=f"check {order}, the modality, and what the model expects: x is physical, and normalised inside it",
        )
    return right


def _threat(options: PairOptions, reference: Reference) -> ThreatModel:
    norm = NORMS["linf"] if options.norm is None else choose("norm", options.norm, NORMS)
    threat = ThreatConfig(norm, None if options.eps is None else parse_eps(options.eps))
    return CalibrateConfig(reference.modality.name, threat=threat).threat_model(reference.modality.input)


def _manifest(options: PairOptions, reference: Reference, data: Labelled, centers: Centers) -> dict[str, Any]:
    sections = dict(reference.sections())
    return {
        **sections,
        "comparison": {**sections["comparison"], "kind": options.kind},
        "tool": {"version": package_version("advcal-edge")},
        "modality": reference.modality.to_json(),
        "threat": _threat(options, reference).to_json(),
        "centers": {"labels": list(centers.labels), "source": centers.source, "temperature": centers.temperature},
        "data": data.to_json(),
    }


def _write(out: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Bundle:
    """The folder, written or found with the same content; one with other content is left alone, for its reports.

    Raises:
        BundleError: `out` holds another comparison, or a bundle that was calibrated.
    """
    if not out.is_dir() or not any(out.iterdir()):
        return Bundle.create(out, manifest, files)
    found = Bundle.open(out)
    entries = {name: {"sha256": sha256_bytes(content), "bytes": len(content)} for name, content in files.items()}
    if compared(found) == compared(Bundle(out, {"schema": SCHEMA, **manifest, "files": entries})):
        return found
    what = (
        "compares other models, samples, centers or settings" if found.comparison else "is a bundle that was calibrated"
    )
    raise BundleError(f"`{out}` {what}; expected a new folder", hint="choose another one: `--out FOLDER`")


def compared(bundle: Bundle) -> str:
    """Hash of what a folder compares: of all but the reference's embeddings, whose last digits depend on the machine.

    Those stay as they were when the folder was made; `verify` compares them.
    """
    files = {name: entry for name, entry in bundle.manifest["files"].items() if name != ANCHOR}
    return Bundle(bundle.path, {**bundle.manifest, "files": files}).identity()
