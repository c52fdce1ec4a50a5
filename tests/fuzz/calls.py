"""Entrances of the Python API that take a file from elsewhere, by name; all arguments are text."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from advcal_edge import spec
from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.config import Layer, parse_settings, read_toml, resolve
from advcal_edge.errors import AdvcalError, BundleError
from advcal_edge.probe import Probe
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.metadata import read_metadata
from advcal_edge.runtime.sensors import preprocess_clips, read_frame
from advcal_edge.runtime.verified import find_verified
from advcal_edge.spec import Modality

MODALITIES: Mapping[str, Modality] = {
    "image": spec.image(16),
    "video": spec.video(16, 2),
    "thermal": spec.thermal(16),
    "depth": spec.depth(16).with_settings({"assume_units": "yes"}),
    "range": spec.ranging(16).with_settings({"assume_units": "yes"}),
    "audio": spec.audio(16, 20),
    "imu": spec.imu(32, 50.0).with_settings({"file_rate": 50.0}),
    "event": spec.event(16),
    "point": spec.point(64),
}


def embed(path: str, engine: str) -> None:
    """Load a bundle with an engine and embed one grey sample."""
    import numpy as np

    embedder = Embedder.load(path, engine)
    low, high = embedder.spec.bounds
    embedder.classify(np.full((2, *embedder.spec.shape), (low + high) / 2, np.float32))


def look_at_bundle(path: str) -> None:
    """Every property of a bundle and every file in it."""
    bundle = Bundle.open(Path(path))
    bundle.identity()
    for look in (lambda: bundle.modality, lambda: bundle.threat, bundle.centers, bundle.probe, bundle.calibration):
        _tolerate(look)
    for name in bundle.manifest["files"]:
        _tolerate(lambda name=name: bundle.file(name))


def _tolerate(call: Callable[[], object]) -> None:
    with contextlib.suppress(AdvcalError):
        call()


def sense(modality: str, path: str) -> None:
    """A sensor file to tensors within bounds."""
    chosen = MODALITIES[modality]
    chosen.input.check(preprocess_clips(chosen, read_frame(path, chosen)))


def load_adapter(path: str) -> None:
    """The numbers of an adapter."""
    from advcal_edge.calibrate.adapters import Adapter

    Adapter.load(Path(path))


def deploy(path: str) -> None:
    """The torch module of a bundle, as `export` and `verify` build it."""
    from advcal_edge.calibrate.deploy import module_from_bundle

    module_from_bundle(Bundle.open(Path(path)))


def read_checkpoint(path: str) -> None:
    """Every tensor of a checkpoint of others."""
    from advcal_edge.encoders.checkpoint import digest, read_tensors

    digest(read_tensors(Path(path), lambda name: True))


def build_options(path: str) -> None:
    """A TOML file of `export --for`."""
    from advcal_edge.export.target import load_target

    load_target(path).options()


def calibrate_options(path: str) -> None:
    """A TOML file of `calibrate --config`."""
    from advcal_edge.calibrate.config import CalibrateConfig

    resolve(CalibrateConfig, [Layer("test", {"modality": "image"}), read_toml(Path(path))])


def settings(*items: str) -> None:
    """Items of `calibrate --set`."""
    from advcal_edge.calibrate.config import CalibrateConfig

    resolve(CalibrateConfig, [Layer("test", {"modality": "image"}), parse_settings(items)])


def read_labels(path: str) -> None:
    """A text file of `centers --labels`."""
    from advcal_edge.cli.centers import read_lines

    read_lines(Path(path))


def read_data(path: str, modality: str, pairs: str) -> None:
    """A csv list or a folder of classes of `calibrate --data`."""
    from advcal_edge.calibrate.data.folder import load_folder

    paired = MODALITIES[pairs] if pairs else None
    load_folder(Path(path), MODALITIES[modality], None, paired, skip_bad=False)


def read_layout(name: str, path: str) -> None:
    """The files of a public data set, by its lists."""
    from advcal_edge.calibrate.data.layouts import find_layout

    listing = find_layout(name).read(Path(path))
    names = [
        file for side in (listing.train, listing.held_out) if side for files in side.files.values() for file in files
    ]
    if any(file.startswith("/") or ".." in file.split("/") for file in names):
        raise RuntimeError(f"a name leads out of the set: {names}")


def read_report(path: str, engine: str) -> None:
    """Whether a report in a bundle lets an engine run."""
    find_verified(Bundle.open(Path(path)), engine)


def render_report(path: str) -> None:
    """A stored report as a page and as a table."""
    from advcal_edge import limits
    from advcal_edge.documents import read_object
    from advcal_edge.report.html import render_html
    from advcal_edge.report.text import verification_table

    document = read_object(Path(path), limits.REPORT_BYTES, BundleError)
    _tolerate(lambda: verification_table(document))
    render_html(document)


CALLS: Mapping[str, Callable[..., None]] = {
    "embed": embed,
    "look_at_bundle": look_at_bundle,
    "centers": lambda path: Centers.load(Path(path)) and None,
    "probe": lambda path, size: Probe.load(Path(path), spec.image(int(size)).input) and None,
    "sense": sense,
    "adapter": load_adapter,
    "deploy": deploy,
    "checkpoint": read_checkpoint,
    "build_options": build_options,
    "calibrate_options": calibrate_options,
    "settings": settings,
    "labels": read_labels,
    "data": read_data,
    "layout": read_layout,
    "report": read_report,
    "render": render_report,
    "metadata": lambda path: read_metadata(Path(path)) and None,
}
