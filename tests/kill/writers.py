"""Everything that writes beside a user's files: what lies there before, what is done, what must hold after a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from advcal_edge.bundle import Bundle, check_destination
from advcal_edge.calibrate.checkpoint import Checkpoint, reserved
from advcal_edge.errors import BundleError
from advcal_edge.leftovers import leftovers
from advcal_edge.storage import TEMPORARY, sha256_bytes
from advcal_edge.verify import State
from advcal_edge.verify.block import Block

OLD = {"adapter.safetensors": b"adapter", "onnx/a.onnx": b"a", "onnx/b.onnx": b"b", "reports/1/report.json": b"{}"}
NEW = {"adapter.safetensors": b"another", "onnx/c.onnx": b"c"}
BESIDE = {
    "notes.txt": b"mine",
    ".B.backup01": b"mine too",
    ".B.old.notes/letter": b"dear",
    "B.bak/manifest.json": b"{}",
}
INSIDE = {
    "notes.txt": b"mine",
    ".env": b"mine too",
    "reports/1/.draft.json.backup01": b"draft",
    ".staging.plan": b"mine",
}


@dataclass(frozen=True)
class Writer:
    """One command's writing; `prepare`, `write` and `check` are given the folder in which everything happens."""

    prepare: Callable[[Path], None]
    write: Callable[[Path], None]
    check: Callable[[Path], None]


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def old_bundle(root: Path) -> None:
    put(root, BESIDE)
    Bundle.create(root / "B", {"seed": 1}, OLD)


def old_bundle_with_notes(root: Path) -> None:
    old_bundle(root)
    put(root / "B", INSIDE)


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: sha256_bytes(data) for name, data in files.items()}


def content(bundle: Bundle) -> dict[str, str]:
    """Listed files with their hashes, each checked against its bytes."""
    return {name: sha256_bytes(bundle.file(name).read_bytes()) for name in bundle.manifest["files"]}


def on_disk(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def nothing_left(root: Path, files: Mapping[str, bytes], inside: Mapping[str, bytes]) -> None:
    """Exactly the bundle with `files`, and what was never ours."""
    found = on_disk(root)
    manifest = found.pop("B/manifest.json", b"")
    wanted = {**BESIDE, **{f"B/{name}": data for name, data in {**inside, **files}.items()}}
    assert found == wanted, (sorted(found), sorted(wanted))
    assert TEMPORARY.encode() not in manifest
    assert b"changing" not in manifest
    assert leftovers(root / "B") == []
    assert not [path for path in root.rglob("*") if path.is_dir() and not any(path.iterdir())]


def either(root: Path, *whole: tuple[Mapping[str, bytes], int], inside: Mapping[str, bytes] | None = None) -> None:
    """The bundle is one of `whole`, files and section, and a new one is not kept from its place."""
    bundle = Bundle.open(root / "B")
    assert (content(bundle), bundle.manifest["seed"]) in [(digests(files), seed) for files, seed in whole]
    if not inside:
        check_destination(root / "B")
        Bundle.create(root / "B", {"seed": 9}, {"x.bin": b"x"})
        nothing_left(root, {"x.bin": b"x"}, {})
        return
    files = {name: bundle.file(name).read_bytes() for name in bundle.manifest["files"]}
    bundle.add({"x.bin": b"x"})
    nothing_left(root, {**files, "x.bin": b"x"}, inside)


def without(files: Mapping[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name not in names}


def create(root: Path) -> None:
    Bundle.create(root / "B", {"seed": 2}, NEW)


def created(root: Path) -> None:
    try:
        Bundle.open(root / "B")
    except BundleError:
        assert not (root / "B").exists()
        check_destination(root / "B")
        create(root)
        nothing_left(root, NEW, {})
    else:
        either(root, (NEW, 2))


ADDED = {**OLD, "onnx/d.onnx": b"d", "reports/2/report.json": b"[]"}
REPLACED = {**OLD, "onnx/a.onnx": b"a again", "onnx/a.onnx.data": b"weights", "onnx/b.onnx": b"b again"}
REPORT = {"reports/1/report.json": b'{"verdict": "pass"}', "reports/1/report.html": b"<p>"}


def add(root: Path) -> None:
    Bundle.open(root / "B").add({name: data for name, data in ADDED.items() if name not in OLD}, seed=2)


def add_staged(root: Path) -> None:
    bundle = Bundle.open(root / "B")
    with bundle.staging() as folder:
        put(folder, {"a.onnx": b"a again", "a.onnx.data": b"weights"})
        staged = {f"onnx/{name}": folder / name for name in ("a.onnx", "a.onnx.data")}
        bundle.add({**staged, "onnx/b.onnx": b"b again"}, seed=lambda seed: seed + 1)


def report(root: Path) -> None:
    Bundle.open(root / "B").add(REPORT)


def remove(root: Path) -> None:
    Bundle.open(root / "B").remove(("onnx/a.onnx", "reports/1/report.json"), seed=2)


def cut_while_replacing(root: Path) -> None:
    old_bundle(root)
    (root / f".B.old.abcdefgh{TEMPORARY}").mkdir()
    (root / "B").rename(root / f".B.old.abcdefgh{TEMPORARY}" / "B")
    put(root, {f".B.new.abcdefgh{TEMPORARY}/new/onnx/c.onnx": b"c"})


def full_of_leftovers(root: Path) -> None:
    old_bundle(root)
    put(root, {f".B.new.abcdefgh{TEMPORARY}/new/c": b"c", f".B.old.abcdefgh{TEMPORARY}/B/a": b"a", ".B.lock": b""})
    put(root / "B", {f".staging.abcdefgh{TEMPORARY}/.lock": b"", f"onnx/.a.onnx.abcdefgh{TEMPORARY}": b"half"})


@dataclass
class Training:
    """Parameters and their optimiser after some steps."""

    parameters: dict[str, torch.nn.Parameter] = field(
        default_factory=lambda: {"w": torch.nn.Parameter(torch.arange(3.0))}
    )

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=0.1)

    def step(self) -> None:
        loss = sum((value**2).sum() for value in self.parameters.values())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        self.optimizer.step()


def checkpoint(root: Path) -> Checkpoint:
    return Checkpoint.beside(root / "B", {"seed": 1})


def first_epoch(root: Path) -> None:
    put(root, BESIDE)
    training = Training()
    training.step()
    checkpoint(root).save(1, training.parameters, training.optimizer)


def second_epoch(root: Path) -> None:
    with reserved(root / "B"):
        training = Training()
        epoch = checkpoint(root).load(training.parameters, training.optimizer)
        training.step()
        checkpoint(root).save(epoch + 1, training.parameters, training.optimizer)


def resumed(root: Path) -> None:
    wanted, found = Training(), Training()
    with reserved(root / "B"):
        for _ in range(checkpoint(root).load(found.parameters, found.optimizer)):
            wanted.step()
        assert torch.equal(wanted.parameters["w"], found.parameters["w"])
        checkpoint(root).remove()
    assert on_disk(root) == BESIDE
    assert not (root / "B.partial").exists()


def finish_calibration(root: Path) -> None:
    with reserved(root / "B"):
        create(root)
        checkpoint(root).remove()


def calibration_finished(root: Path) -> None:
    with reserved(root / "B"):
        training = Training()
        if checkpoint(root).exists():
            assert checkpoint(root).load(training.parameters, training.optimizer) == 1
        else:
            assert content(Bundle.open(root / "B")) == digests(NEW)
        checkpoint(root).remove()
    created(root)


def block() -> Block:
    nothing = np.zeros(0, np.int64)
    return Block(0, nothing, {}, [], {}, {}, {}, 0.0)


def state(root: Path) -> State:
    return State.open(root / "B.verify", {"what": "a run"})


def beside_alone(root: Path) -> None:
    put(root, BESIDE)


def keep(root: Path) -> None:
    one = state(root)
    one.keep(0, block())
    one.write("fp32", {"curve": None})
    one.close()


def kept_state(root: Path) -> None:
    put(root, BESIDE)
    keep(root)


def clear(root: Path) -> None:
    state(root).clear()


def goes_on(root: Path) -> None:
    again = state(root)
    assert again.run()["what"] == "a run"
    assert again.done(0) == (again.block(0) is not None)
    assert again.note("fp32") in (None, {"curve": None})
    again.clear()
    assert on_disk(root) == BESIDE
    assert not (root / "B.verify").exists()


WRITERS: dict[str, Writer] = {
    "create": Writer(beside_alone, create, created),
    "replace": Writer(old_bundle, create, lambda root: either(root, (OLD, 1), (NEW, 2))),
    "add": Writer(old_bundle, add, lambda root: either(root, (OLD, 1), (ADDED, 2))),
    "add staged files in place of others": Writer(
        old_bundle,
        add_staged,
        lambda root: either(root, (OLD, 1), (REPLACED, 2), (without(OLD, "onnx/a.onnx", "onnx/b.onnx"), 1)),
    ),
    "add beside files of the user": Writer(
        old_bundle_with_notes,
        add_staged,
        lambda root: either(
            root, (OLD, 1), (REPLACED, 2), (without(OLD, "onnx/a.onnx", "onnx/b.onnx"), 1), inside=INSIDE
        ),
    ),
    "report": Writer(
        old_bundle, report, lambda root: either(root, (OLD, 1), ({**OLD, **REPORT}, 1), (without(OLD, *REPORT), 1))
    ),
    "remove": Writer(
        old_bundle,
        remove,
        lambda root: either(
            root, (OLD, 1), *((without(OLD, "onnx/a.onnx", "reports/1/report.json"), seed) for seed in (1, 2))
        ),
    ),
    "put back": Writer(
        cut_while_replacing, lambda root: void(Bundle.open(root / "B")), lambda root: either(root, (OLD, 1))
    ),
    "sweep": Writer(full_of_leftovers, add, lambda root: either(root, (OLD, 1), (ADDED, 2))),
    "checkpoint": Writer(first_epoch, second_epoch, resumed),
    "finish a calibration": Writer(first_epoch, finish_calibration, calibration_finished),
    "keep a block": Writer(beside_alone, keep, goes_on),
    "clear a run": Writer(kept_state, clear, goes_on),
}


def void(_: Any) -> None:
    """Let go of a result."""
