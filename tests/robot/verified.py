"""Tiny bundles with a passing report, opened as the node opens them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from host_trt import host_metadata, host_plan
from tiny import Linear, report_for, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.expectations import ADVERSARIAL, CLEAN, TIE, Expectations, selftest_name
from advcal_edge.robot.input_kind import input_kind, make_reader
from advcal_edge.robot.intake import Intake
from advcal_edge.robot.opening import Opened, open_engine
from advcal_edge.robot.settings import NodeSettings, Value
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.metadata import Device
from advcal_edge.runtime.selftest import place_of
from advcal_edge.spec import Modality, imu, thermal


def motion_sensor() -> Modality:
    """Windows of a second; the bounds have a middle that is not 0, of which a linear encoder has no direction."""
    sensor = imu(20, 20.0)
    return replace(sensor, input=replace(sensor.input, bounds=(-1.0, 1.5)))


def verified_bundle(path: Path, modality: Modality) -> Bundle:
    """A bundle whose fp32 graph has a passing report."""
    return write_bundle(path, Linear.random(modality), ("fp32",), {"fp32": "pass"})


def bundle_to_replay(folder: Path, *, honest: bool = True, place: Mapping[str, str] | None = None) -> Bundle:
    """A verified bundle with what a verification would store of its engine, or with embeddings of other inputs.

    `place` is where it was verified; here unless it is given.
    """
    bundle = verified_bundle(folder / "B", thermal(8))
    embedder = Embedder.load(bundle.path, require_verified=True)
    x = np.random.default_rng(0).random((4, *embedder.spec.shape), np.float32)
    z = embedder(x)
    given = z if honest else z[::-1].copy()
    kind = np.array([CLEAN, TIE, ADVERSARIAL, ADVERSARIAL])
    here, sha256 = place_of(embedder.fingerprint), embedder.runner.sha256
    stored = Expectations(x, embedder.centers.predict(z), kind, given, given, sha256, place or here)
    return bundle.add({selftest_name(sha256): stored.to_bytes()})


def opened(folder: Path, modality: Modality, **settings: Value) -> Opened:
    """A new bundle, opened."""
    bundle = verified_bundle(folder / "B", modality)
    return open_engine(NodeSettings.of({"bundle": str(bundle.path), **settings}))


def intake(folder: Path, modality: Modality, **settings: Value) -> Intake:
    """What takes the messages of a new bundle."""
    found = opened(folder, modality, **settings)
    kind = input_kind(found.embedder.modality, found.settings)
    return Intake(found.embedder, make_reader(found.embedder.modality, kind, found.settings), found.settings)


OTHER = Device("Orin of another robot", (8, 6))


def add_plan(bundle: Bundle, device: Device) -> str:
    """Put a plan of the stand-in with a passing report into a bundle; its name there."""
    graph = Linear.random(thermal(8)).forward()
    plan = host_plan(graph)
    beside = json.dumps(host_metadata(plan, graph, "fp16", device=device).to_json()).encode()
    changed = bundle.add({"engines/host.plan": plan, "engines/host.json": beside})
    changed.add(dict([report_for(plan, bundle=changed)]))
    return "engines/host.plan"
