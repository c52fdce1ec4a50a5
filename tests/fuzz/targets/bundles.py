"""A bundle from elsewhere: its manifest, its reports, its plans, and the half-done run beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hostile import resealed

from fuzz.archives import spoil_zip
from fuzz.case import Action, Scene, Target
from fuzz.corpus import BUNDLE, STATE, relist, set_traps
from fuzz.documents import every_poison, spelled, spoil_document
from fuzz.mutation import spoil

FRAME = "rgb.png"
QUICK = ("--engine", "fp32", "--reference", "onnx", "--sources", "none")
KEPT = (BUNDLE,)


def lay_out(scene: Scene) -> Path:
    """A copy of the bundle in the case's folder, a frame beside it, and traps for paths that lead out."""
    shutil.copytree(scene.corpus / BUNDLE, scene.folder / BUNDLE)
    shutil.copy(scene.corpus / "sensors" / FRAME, scene.folder / FRAME)
    if scene.spoilt:
        set_traps(scene.folder)
    return scene.folder / BUNDLE


def write_manifest(scene: Scene) -> Sequence[Action]:
    """Each place of the manifest with a poison in turn, else random changes."""
    bundle = lay_out(scene)
    place = bundle / "manifest.json"
    if scene.spoilt:
        document = json.loads(place.read_text("utf-8"))
        if scene.rng.random() < 0.5:
            place.write_bytes(spelled(resealed(every_poison(document, scene.index // 2, scene.rng)), scene.rng))
        else:
            place.write_bytes(spelled(resealed(spoil_document(document, scene.rng)), scene.rng))
    return look(scene)


def look(scene: Scene) -> list[Action]:
    """What people do with a bundle: all of it with the unharmed one, else two of the quick and one of the slow ways."""
    json_output = ("--json",) if scene.index % 2 else ()
    engine = scene.rng.choice(("auto", "fp32"))
    quick = [
        Action("cli", ("inspect", BUNDLE, *json_output), KEPT),
        Action("cli", ("embed", BUNDLE, FRAME, "--engine", engine, *json_output), KEPT),
        Action("look_at_bundle", (BUNDLE,), KEPT),
        Action("deploy", (BUNDLE,), KEPT),
        Action("cli", ("verify", BUNDLE, "--engine", "int4"), KEPT, refuses=True),
        Action("cli", ("export", BUNDLE, "--precision", "int4"), KEPT, refuses=True),
    ]
    slow = [
        Action("cli", ("verify", BUNDLE, *QUICK, "--samples", "8", *json_output)),
        Action("cli", ("bench", BUNDLE, "--engine", "fp32", "--seconds", "0.01", "--batch", "1"), KEPT),
    ]
    if not scene.spoilt:
        return [*quick, *slow]
    return [*scene.rng.sample(quick, 2), *([scene.rng.choice(slow)] if scene.index % 4 == 0 else [])]


def write_report(scene: Scene) -> Sequence[Action]:
    """The stored report of an engine, listed with its hash."""
    bundle = lay_out(scene)
    (report,) = sorted(bundle.glob("reports/*/report.json"))
    name = report.relative_to(bundle).as_posix()
    document = json.loads(report.read_text("utf-8"))
    engine = document["measured"]["engine"]["sha256"]
    if scene.spoilt:
        content = spelled(resealed(spoil_document(document, scene.rng)), scene.rng)
        relist(bundle, {name: content})
    path = f"{BUNDLE}/{name}"
    ways = (
        Action("cli", ("verify", "--check", path), KEPT),
        Action("report", (BUNDLE, engine), KEPT),
        Action("render", (path,), KEPT),
        Action("cli", ("inspect", BUNDLE), KEPT),
        Action("cli", ("embed", BUNDLE, FRAME), KEPT),
    )
    return scene.rng.sample(ways, 2) if scene.spoilt else ways


def write_metadata(scene: Scene) -> Sequence[Action]:
    """The metadata of a plan, and the plan."""
    bundle = lay_out(scene)
    (plan,) = (path.relative_to(bundle).as_posix() for path in bundle.glob("engines/*.plan"))
    metadata = plan.replace(".plan", ".json")
    if scene.spoilt:
        document = json.loads((bundle / metadata).read_text("utf-8"))
        relist(bundle, {metadata: spelled(resealed(spoil_document(document, scene.rng)), scene.rng)})
        if scene.rng.random() < 0.1:
            relist(bundle, {plan: spoil((bundle / plan).read_bytes(), scene.rng)})
    ways = (
        Action("metadata", (f"{BUNDLE}/{plan}",), KEPT),
        Action("cli", ("inspect", BUNDLE), KEPT),
        Action("embed", (BUNDLE, plan), KEPT, refuses=True),
        Action("cli", ("verify", BUNDLE, "--engine", plan, "--reference", "onnx"), KEPT, refuses=True),
    )
    return scene.rng.sample(ways, 2) if scene.spoilt else ways


def write_state(scene: Scene) -> Sequence[Action]:
    """A run that was started elsewhere: its description, its notes, its blocks."""
    lay_out(scene)
    (source,) = (scene.corpus / STATE).iterdir()
    state = scene.folder / STATE / source.name
    shutil.copytree(source, state)
    if scene.spoilt:
        chosen = scene.rng.choice(sorted(state.iterdir()))
        spoil_file(chosen, scene)
    merge = Action("cli", ("verify", BUNDLE, "--merge", "--state", STATE))
    again = Action("cli", ("verify", BUNDLE, *QUICK, "--shard", "1/1", "--state", STATE), KEPT)
    return (again, merge) if scene.index % 2 else (merge,)


def spoil_file(path: Path, scene: Scene) -> None:
    """A file, spoilt as its kind allows."""
    data = path.read_bytes()
    if path.suffix == ".json":
        document: Any = json.loads(data)
        path.write_bytes(spelled(resealed(spoil_document(document, scene.rng)), scene.rng))
    else:
        path.write_bytes(spoil_zip(data, scene.rng))


TARGETS = (
    Target("manifest", (BUNDLE,), write_manifest, 50),
    Target("report", (BUNDLE,), write_report, 15),
    Target("metadata", (BUNDLE,), write_metadata, 15),
    Target("state", (BUNDLE,), write_state, 5),
)
