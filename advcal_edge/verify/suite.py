"""Inputs that were crafted on one machine, as one file for machines that are too small to attack: `suite.npz`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.bundle import Bundle
from advcal_edge.checked_file import CheckedFile
from advcal_edge.documents import parse_json
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.limits import SAMPLES_BYTES
from advcal_edge.npz import Npz, open_npz
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import package_version
from advcal_edge.retrieval import Rank, label_rank
from advcal_edge.verify.crafting import Crafting, attacks_per_block
from advcal_edge.verify.model_set import REFERENCE, embed
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.run import open_run
from advcal_edge.verify.samples import Samples
from advcal_edge.verify.verification import Verification

SCHEMA = "advcal-edge/suite/1"
HINT = "craft it again: `advcal-edge verify BUNDLE --craft suite.npz`"
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Crafted:
    """The last inputs (n, ...) crafted on one model, and what the reference makes of them."""

    x_adv: Floats
    rank: Rank
    """Rank (n,) of the true label on the reference."""


@dataclass(frozen=True, slots=True, eq=False)
class Suite:
    """Crafted inputs for the first n samples of a bundle, by the name of the model that they were crafted on."""

    about: Mapping[str, Any]
    """Threat, budget, seed, hashes of bundle and samples, fingerprints of the models, version."""
    y: NDArray[np.int64]
    clean: Rank
    """Rank (n,) of the true label on the reference, for clean inputs."""
    crafted: Mapping[str, Crafted]

    def to_bytes(self) -> bytes:
        """As npz without pickle."""
        arrays: dict[str, NDArray[Any]] = {
            "head": np.array(json.dumps({"schema": SCHEMA, **self.about}, allow_nan=False)),
            "y": self.y,
            "clean": self.clean,
        }
        for name, one in self.crafted.items():
            arrays |= {f"x/{name}": one.x_adv, f"rank/{name}": one.rank}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()


@dataclass(frozen=True, slots=True, eq=False)
class SuiteFile:
    """A suite on disk, hashed once; its inputs are read block by block, so that a small board can hold it."""

    file: CheckedFile
    about: Mapping[str, Any]
    y: NDArray[np.int64]
    clean: Rank
    rank: Mapping[str, Rank]
    """Per model that inputs were crafted on: rank (n,) of the true label on the reference."""

    @classmethod
    def open(cls, path: Path) -> SuiteFile:
        """Hash and open what `Suite.to_bytes` wrote.

        Raises:
            BundleError: missing, too large, damaged, or of another version.
        """
        checked, where = CheckedFile.of(path), f"`{path}`"
        with reading(checked) as archive:
            head = parse_json(str(archive.array("head")), f"`head` of {where}", BundleError)
            if not isinstance(head, dict) or head.get("schema") != SCHEMA:
                raise BundleError(f"{where} is no suite of crafted inputs; expected schema `{SCHEMA}`", hint=HINT)
            names = [name.removeprefix("x/") for name in archive.names if name.startswith("x/")]
            if not names:
                raise ValueError("it holds no crafted inputs")
            y, clean = archive.array("y"), archive.array("clean")
            rank = {name: archive.array(f"rank/{name}") for name in names}
            for name, labels in {"y": y, "clean": clean, **rank}.items():
                if labels.dtype.kind not in "iu" or labels.shape != (len(y),) or not labels.size or labels.min() < 0:
                    raise ValueError(f"`{name}` is {labels.dtype} {labels.shape}; expected {len(y)} numbers from 0 on")
            for name in names:
                with archive.stream(f"x/{name}") as (_, shape, dtype):
                    if dtype != np.float32 or shape[:1] != y.shape:
                        raise ValueError(f"the inputs of `{name}` are {dtype} {shape}; expected {len(y)} in float32")
        return cls(checked, head, y, clean, rank)

    def shapes(self) -> set[tuple[int, ...]]:
        """Shapes of one input."""
        with reading(self.file) as archive:
            found = set()
            for name in self.rank:
                with archive.stream(f"x/{name}") as (_, shape, _):
                    found.add(shape[1:])
            return found

    def blocks(self, size: int) -> Iterator[dict[str, Floats]]:
        """The inputs by the model that they were crafted on, `size` samples at a time.

        Raises:
            BundleError: damaged, or changed since it was hashed.
        """
        with reading(self.file) as archive:
            rows = [archive.rows(f"x/{name}", size, len(self.y)) for name in self.rank]
            for parts in zip(*rows, strict=True):
                yield dict(zip(self.rank, parts, strict=True))


@contextmanager
def reading(file: CheckedFile) -> Iterator[Npz]:
    """The archive of a suite.

    Raises:
        BundleError: it cannot be read, is damaged, or was changed since it was hashed.
    """
    where = f"`{file.path}`"
    with file.open() as opened, open_npz(opened, where, SAMPLES_BYTES, BundleError, hint=HINT) as archive:
        yield archive


def craft_suite(bundle: Bundle, options: VerifyOptions, progress: Progress = silent) -> Suite:
    """Attack reference, sources and engines of a bundle, and keep the last inputs crafted on each.

    Those are inputs that fooled the model, or withstood the strongest attack on it.

    Raises:
        ConfigError: options that have no meaning here, or cannot be honoured.
        BundleError, EngineError, DependencyError: as for `verify`.
    """
    if options.sequential or options.rebuilds:
        raise ConfigError(
            "`--craft` attacks a fixed number of samples and builds nothing",
            hint="leave out `--sequential` and `--rebuilds`",
        )
    with TemporaryDirectory(prefix="advcal-edge.") as folder, open_run(bundle, options, Path(folder)) as run:
        parts = list(craft_blocks(run, progress))
        about = {
            "threat": run.samples.threat.to_json(),
            "budget": run.budget.to_json(),
            "seed": run.samples.seed,
            "bundle": bundle.origin(),
            "data": bundle.manifest["files"]["probe.npz"]["sha256"],
            "models": {name: model.runner.fingerprint for name, model in run.models.all.items()},
            "tool": str(package_version("advcal-edge")),
        }
    names = [name for name in parts[0].crafted if all(name in part.crafted for part in parts)]
    crafted = {
        name: Crafted(
            np.concatenate([part.crafted[name].x_adv for part in parts]),
            np.concatenate([part.crafted[name].rank for part in parts]),
        )
        for name in names
    }
    y, clean = (np.concatenate([getattr(part, name) for part in parts]) for name in ("y", "clean"))
    return Suite(about, y, clean, crafted)


def craft_blocks(run: Verification, progress: Progress) -> Iterator[Suite]:
    """Suites of one block each."""
    each, done = attacks_per_block(run.models, run.samples, run.budget), 0
    total = each * run.samples.count

    def tick() -> None:
        nonlocal done
        done += 1
        progress("craft", min(done, total), total)

    for index, samples in run.samples.blocks(range(run.samples.count)):
        yield craft_block(run, samples, tick)
        done = each * (index + 1)  # looks and partners are attacked in `verify` alone
        progress("craft", done, total)


def craft_block(run: Verification, samples: Samples, tick: Any) -> Suite:
    """Run all attacks of `verify` on one block, but for the second look."""
    models = run.models
    rank = {
        name: label_rank(models.reference.centers, embed(model, samples.x), samples.y)
        for name, model in models.all.items()
    }
    crafting = Crafting(models, samples, run.budget, tick, rank)
    crafting.first()
    crafting.on_reference()
    for engine in models.engines:
        crafting.on_engine(engine)

    def judged(x_adv: Floats) -> Rank:
        return label_rank(models.reference.centers, embed(models.reference, x_adv), samples.y)

    crafted = {name: Crafted(x_adv, judged(x_adv)) for name, x_adv in crafting.latest.items()}
    return Suite({}, samples.y, rank[REFERENCE], crafted)
