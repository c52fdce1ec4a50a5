"""The other files of a bundle, and the checkpoints of others: safetensors, npz, torch's zip archives."""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.archives import spoil_safetensors, spoil_zip
from fuzz.case import Action, Scene, Target
from fuzz.corpus import BUNDLE, relist
from fuzz.targets.bundles import FRAME, KEPT, lay_out


def replaced(scene: Scene, name: str) -> str:
    """A copy of the bundle with this file spoilt and listed with its hash; its path."""
    bundle = lay_out(scene)
    if scene.spoilt:
        data = (bundle / name).read_bytes()
        spoil = spoil_zip if name.endswith(".npz") else spoil_safetensors
        relist(bundle, {name: spoil(data, scene.rng)})
    return f"{BUNDLE}/{name}"


def write_centers(scene: Scene) -> Sequence[Action]:
    """The centers, on which every label rests."""
    path = replaced(scene, "centers.safetensors")
    return (
        Action("centers", (path,), KEPT),
        Action("cli", ("inspect", BUNDLE, *(["--json"] if scene.index % 2 else [])), KEPT),
        Action("cli", ("embed", BUNDLE, FRAME, "--out", "z.npz"), KEPT),
    )


def write_samples(scene: Scene) -> Sequence[Action]:
    """The samples to verify with, or to quantise with."""
    name = scene.rng.choice(("probe.npz", "calibration.npz"))
    path = replaced(scene, name)
    actions = [
        Action("probe", (path, "8"), KEPT),
        Action("cli", ("inspect", BUNDLE), KEPT),
    ]
    if name == "probe.npz" and scene.index % 8 == 0:
        options = ("--engine", "fp32", "--reference", "onnx", "--sources", "none", "--samples", "8")
        actions.append(Action("cli", ("verify", BUNDLE, *options)))
    return actions


def write_adapter(scene: Scene) -> Sequence[Action]:
    """The adapter, which is merged into the encoder."""
    path = replaced(scene, "adapter.safetensors")
    return Action("adapter", (path,), KEPT), Action("deploy", (BUNDLE,), KEPT)


def write_checkpoint(scene: Scene) -> Sequence[Action]:
    """The weights of an encoder that somebody published."""
    data = scene.source.read_bytes()
    if scene.spoilt:
        spoil = spoil_zip if scene.seed.endswith(".pth") else spoil_safetensors
        data = spoil(data, scene.rng)
    (scene.folder / scene.seed).write_bytes(data)
    return (Action("checkpoint", (scene.seed,), (scene.seed,)),)


TARGETS = (
    Target("centers", (BUNDLE,), write_centers, 30),
    Target("samples", (BUNDLE,), write_samples, 30),
    Target("adapter", (BUNDLE,), write_adapter, 30),
    Target("checkpoint", ("plain.pth", "wrapped.pth", "plain.safetensors"), write_checkpoint, 60),
)
