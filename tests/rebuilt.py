"""Bundles with a verified engine, and plans that the stand-in for TensorRT builds again with other bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from host_trt import host_gpu, host_metadata, host_plan
from tiny import Linear, write_bundle

from advcal_edge.bundle import Bundle
from advcal_edge.export.target import BuildOptions
from advcal_edge.export.tensorrt.plans import build_plans
from advcal_edge.runtime.backends.trt_api import find_product
from advcal_edge.spec import thermal
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.run import verify

GRAPH = "onnx/forward.fp16.onnx"
UPDATED = (10, 7, 0)
"""Another version than that of the stand-in."""


def verified_bundle(path: Path, *, plan: bool) -> Bundle:
    """A bundle whose fp16 graph is verified for real, and before that a plan that is built from it."""
    with pytest.MonkeyPatch.context() as patch, host_gpu(patch):
        bundle = write_bundle(path, Linear.random(thermal(4)), ("fp32", "fp16"), {}, samples=220)
        for engine in (*([build(bundle, (1, 8, 32))] if plan else []), "fp16"):
            verify(Bundle.open(path), VerifyOptions(engine=engine, samples=200, reference="onnx"))
    return Bundle.open(path)


def build(bundle: Bundle, batch: tuple[int, int, int] = (1, 2, 4)) -> str:
    """Build a plan from the fp16 graph into the bundle as `export --trt` does; its name. Batches change its bytes."""
    built = build_plans(Bundle.open(bundle.path), find_product("tensorrt"), [GRAPH], BuildOptions(batch=batch))[1]
    return built[0].path


def claim(bundle: Bundle, computes: bytes, /, **changes: Any) -> str:
    """Add a plan of any graph, with metadata that say it was built from the bundle's; its name."""
    plan = host_plan(computes, (1, 2, 4))
    metadata = host_metadata(plan, bundle.file(GRAPH).read_bytes(), **changes)
    files = {"engines/claimed.plan": plan, "engines/claimed.json": json.dumps(metadata.to_json()).encode()}
    bundle.add(files)
    return "engines/claimed.plan"
