"""Tiny bundles with a passing report, opened as the node opens them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from host_trt import host_metadata, host_plan
from tiny import Linear, report_for, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.robot.input_kind import input_kind, make_reader
from advcal_edge.robot.intake import Intake
from advcal_edge.robot.opening import Opened, open_engine
from advcal_edge.robot.settings import NodeSettings, Value
from advcal_edge.runtime.metadata import Device
from advcal_edge.spec import Modality, imu, thermal


def motion_sensor() -> Modality:
    """Windows of a second; the bounds have a middle that is not 0, of which a linear encoder has no direction."""
    sensor = imu(20, 20.0)
    return replace(sensor, input=replace(sensor.input, bounds=(-1.0, 1.5)))


def verified_bundle(path: Path, modality: Modality) -> Bundle:
    """A bundle whose fp32 graph has a passing report."""
    return write_bundle(path, Linear.random(modality), ("fp32",), {"fp32": "pass"})


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
