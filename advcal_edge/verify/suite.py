"""Inputs that were crafted on one machine, as one file for machines that are too small to attack: `suite.npz`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.bundle import Bundle
from advcal_edge.documents import parse_json
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.limits import SAMPLES_BYTES
from advcal_edge.npz import open_npz
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import package_version
from advcal_edge.retrieval import Rank, label_rank
from advcal_edge.storage import read_bytes, sha256_bytes
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

    @classmethod
    def read(cls, path: Path) -> tuple[Suite, str]:
        """Read what `to_bytes` wrote, and its sha256: the bytes that are hashed are those that are read.

        Raises:
            InputError: missing, too large, damaged, or of another version.
        """
        data, where = read_bytes(path, SAMPLES_BYTES, InputError), f"`{path}`"
        with open_npz(io.BytesIO(data), where, SAMPLES_BYTES, InputError, hint=HINT) as file:
            head = parse_json(str(file.array("head")), f"`head` of {where}", InputError)
            if not isinstance(head, dict) or head.get("schema") != SCHEMA:
                raise InputError(f"{where} is no suite of crafted inputs; expected schema `{SCHEMA}`", hint=HINT)
            names = [name.removeprefix("x/") for name in file.names if name.startswith("x/")]
            crafted = {name: Crafted(file.array(f"x/{name}"), file.array(f"rank/{name}")) for name in names}
            suite = cls(head, file.array("y"), file.array("clean"), crafted)
            suite._check()
        return suite, sha256_bytes(data)

    def _check(self) -> None:
        """Check the type and shape of every array.

        Raises:
            ValueError: an array has another type or shape, or there are no crafted inputs.
        """
        n = len(self.y)
        if n < 1 or not self.crafted:
            raise ValueError("it holds no crafted inputs")
        for name, labels in {"y": self.y, "clean": self.clean, **{k: c.rank for k, c in self.crafted.items()}}.items():
            if labels.dtype.kind not in "iu" or labels.shape != (n,) or labels.min() < 0:
                raise ValueError(f"`{name}` is {labels.dtype} {labels.shape}; expected {n} whole numbers from 0 on")
        for name, one in self.crafted.items():
            if one.x_adv.dtype != np.float32 or len(one.x_adv) != n or not np.isfinite(one.x_adv).all():
                raise ValueError(f"the inputs of `{name}` are not {n} finite inputs in float32")


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
            "tool": package_version("advcal-edge"),
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
