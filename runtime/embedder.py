"""From sensor data to embeddings and labels, with the engine of a bundle: the main class for deployment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from advcal_edge.bundle import Bundle
from advcal_edge.centers import Centers
from advcal_edge.commands import command
from advcal_edge.declarations import Setting
from advcal_edge.errors import ConfigError, EngineError
from advcal_edge.runtime.abstention import Abstention
from advcal_edge.runtime.backends import OpenOptions
from advcal_edge.runtime.engine import choose_engine, read_engine
from advcal_edge.runtime.interface import AS_DECLARED, Interface
from advcal_edge.runtime.matching import Match, find_matches
from advcal_edge.runtime.model import Runner, open_runner
from advcal_edge.runtime.verified import find_verified
from advcal_edge.spec import Modality, TensorSpec

if TYPE_CHECKING:
    from advcal_edge.attestation import PublicKey
    from advcal_edge.runtime.selftest import Selftest
    from advcal_edge.runtime.sensors import Frame
    from advcal_edge.runtime.sources import Source
    from advcal_edge.runtime.stream import Stream

NORM_TOLERANCE = 0.01  # half precision and int8 stay within 0.001; a missing logit scale gives 4 or more


@dataclass(frozen=True, slots=True, eq=False)
class Embedder:
    """An engine with its preprocessing and centers; safe to call from several threads."""

    runner: Runner
    modality: Modality
    centers: Centers
    verified: bool
    """Does the bundle have a passing report for these engine bytes, at its own threat model and samples?"""
    abstention: Abstention | None = None
    """The rule of that report by which an answer may be trusted; None without one."""
    selftest: Selftest | None = None
    """The self-test at the start, if one was asked for."""

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        engine: str = "auto",
        require_verified: bool | Literal["signed", "retested"] = False,
        *,
        public_key: str | Path | PublicKey | None = None,
        threads: int | None = None,
        allow_plan_code: bool = False,
        interface: Interface = AS_DECLARED,
        selftest: bool = False,
    ) -> Embedder:
        """Open a bundle and its engine: `auto`, `fp32`, `fp16`, `int8`, or a path.

        `auto` takes a verified plan for this device, else a verified graph, on CUDA before the CPU; without a verified
        engine the fp32 graph. `fingerprint` identifies the engine and where it runs. A plan that contains code for the
        host is opened only with `allow_plan_code`, since the code runs when the plan is loaded. `interface` says of an
        engine made by others what its declaration does not tell.

        `require_verified="signed"` also demands that the holder of `public_key` signed the whole bundle and attests
        that this engine passed. It hashes every file of the bundle, before anything but the manifest is read.

        `selftest` replays what `verify` stored, and refuses an engine that answers in another way now. One that passes
        in another place than where it was verified counts as retested, and `verified` is False: only
        `require_verified="retested"` accepts it, which demands a passing report and the self-test. So does a plan
        without a report that is compared with a verified engine from the same graph, see `find_relative`; with
        "retested" `auto` takes such a plan before a verified graph.

        Raises:
            BundleError: not a bundle, or a file in it was changed.
            SignatureError: not signed with this key, changed since, or no attestation that this engine passed.
            EngineError: no such engine, it does not fit, its output is not an embedding, it lacks a required report, or
                it fails its self-test.
            ConfigError: a key without the requirement, or the other way round, or one that cannot be read.
            DependencyError: onnxruntime, or for a signature cryptography, is not installed.
        """
        opened = Bundle.open(bundle)
        opened.require_calibration("run")
        signed, retested = None, require_verified == "retested"
        if retested and not selftest:
            raise ConfigError('`require_verified="retested"` needs the self-test', hint="add `selftest=True`")
        if require_verified not in (False, True, "retested") or public_key is not None:
            from advcal_edge.runtime.signed import require_signature  # only where signatures are used

            signed = require_signature(opened, require_verified, public_key)
        modality, centers = opened.modality, opened.centers()
        file = read_engine(opened, choose_engine(opened, engine, retested=retested))
        if signed is not None:
            signed.require_passed(file.sha256)
        path, report = file.path, find_verified(opened, file.sha256)  # by the bytes that were read, not by a path
        seen = None if report is None else report.provider
        options = OpenOptions(verified_on=seen, threads=threads, allow_plan_code=allow_plan_code)
        runner = open_runner(file, modality.input, options, interface, width=centers.dim)
        verified = report is not None and report.covers(runner.fingerprint, runner.backend.bridged)
        if require_verified and not verified and not retested:  # the self-test refuses what nothing vouches for
            raise EngineError(
                f"engine `{path}` ({runner.sha256[:8]}) has no passing report in `{opened.path}`;"
                " expected one for exactly these bytes",
                hint=f"`{command('verify', opened.path, '--engine', path)}`",
            )
        if runner.dim != centers.dim:
            raise EngineError(
                f"engine `{path}` embeds to {runner.dim} numbers; the centers of `{opened.path}` have {centers.dim}",
                hint="use the bundle this engine was exported from",
            )
        embedder = cls(runner, modality, centers, verified, report.abstention if report and verified else None)
        embedder.try_out()
        if not selftest:
            return embedder
        embedder = embedder.self_tested(opened)
        if require_verified and not retested and embedder.selftest is not None:
            embedder.selftest.require_verified(path, opened.path, 'accept that with `require_verified="retested"`')
        return embedder

    def self_tested(self, bundle: Bundle) -> Embedder:
        """The same engine after its self-test; unless it was verified in this very place, `verified` is then False.

        Raises:
            BundleError: nothing is stored for this engine, or it was changed.
            EngineError: it answers in another way than when it was verified, or never was.
        """
        from advcal_edge.runtime.selftest import run_selftest

        result = run_selftest(self, bundle)
        result.require_passed(self.runner.path, bundle.path)
        verified = self.verified and result.status == "verified"
        return replace(self, verified=verified, abstention=self.abstention if verified else None, selftest=result)

    def with_settings(self, changes: Mapping[str, Setting]) -> Embedder:
        """The same engine for another sensor of this kind, like `{"depth_scale": "tum"}`; shares the engine.

        Raises:
            ConfigError: a setting that this sensor does not have, or a value that it cannot have.
        """
        return replace(self, modality=self.modality.with_settings(changes))

    @property
    def spec(self) -> TensorSpec:
        """The input of the engine."""
        return self.modality.input

    @property
    def labels(self) -> tuple[str, ...]:
        """Class labels."""
        return self.centers.labels

    @property
    def precision(self) -> str:
        """Precision like `fp16`, from the engine's own metadata; `custom` if another tool exported it."""
        return self.runner.precision

    @property
    def fingerprint(self) -> str:
        """Identifies what runs: product, version, provider and hash of the bytes."""
        return self.runner.fingerprint

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed physical inputs x (n, ...) to unit-norm z (n, d) in a new array; an empty batch gives (0, d).

        Raises:
            InputError: wrong shape or dtype, NaN, or values outside the bounds.
            EngineError: the engine fails or returns NaN.
        """
        z: NDArray[np.float32] = self.runner.run(self.modality.input.check(x))
        if not math.isfinite(np.vdot(z, z)):  # one pass; squares of finite values may overflow, so check again
            bad = int((~np.isfinite(z).all(axis=1)).sum())
            if bad:
                raise EngineError(
                    f"engine `{self.runner.path}` ({self.precision}) returned NaN or infinite values"
                    f" for {bad} of {len(z)} inputs",
                    hint="half precision overflowed; use the `fp32` engine, or export again",
                )
        return z

    def embed_frames(self, frames: Sequence[Frame], *, first: int = 0) -> NDArray[np.float32]:
        """Embed raw frames of any size, from the sensor or `read_frame`, to z (n, d).

        Of a recording every clip is embedded; the result is their mean, normalised again. No frames give (0, d).
        `first` is the number of the first frame in messages.

        Raises:
            InputError: a frame that the sensor cannot have produced.
            EngineError: the engine fails or returns NaN, or the clips of a recording cancel out.
        """
        from advcal_edge.runtime.sensors import preprocess, preprocess_clips

        if self.modality.number("clips", 1) <= 1:
            return self(preprocess(self.modality, frames, first=first))
        clips = (preprocess_clips(self.modality, frame, f"frame {k}") for k, frame in enumerate(frames, first))
        means = [self(each).mean(axis=0) for each in clips]
        z = np.stack(means) if means else np.empty((0, self.centers.dim), np.float32)
        norms = np.linalg.norm(z, axis=1, keepdims=True)
        if not (norms > 1e-6).all():
            raise EngineError(
                f"the clips of recording {first + int(norms.argmin())} cancel each other; their mean has no direction"
            )
        unit: NDArray[np.float32] = z / norms
        return unit

    def classify(self, x: NDArray[np.float32], top: int = 3) -> list[list[Match]]:
        """The best `top` labels (all, if there are fewer) of each physical input x (n, ...), best first.

        Raises:
            InputError: as for embedding, or `top` below one.
            EngineError: the engine fails or returns NaN.
        """
        return self.match(self(x), top)

    def match(self, z: NDArray[np.float32], top: int = 3) -> list[list[Match]]:
        """The best `top` labels of embeddings z (n, d), best first.

        The best is `sure` where its lead over the second, in units of cosine, is above the threshold of `rule`.

        Raises:
            InputError: `top` is below one.
        """
        return find_matches(self.centers, z, self.rule, top)

    @property
    def rule(self) -> Abstention | None:
        """The rule that holds for `match`: none for recordings, whose answer is a mean of clips and was not attacked.

        With the setting `clips=1` a recording gives one input, and its answer is covered.
        """
        return None if self.abstention is None else self.abstention.covering(self.modality)

    def stream(
        self,
        source: Source,
        *,
        latest: bool | None = None,
        deadline: float | None = None,
        top: int = 3,
        ahead: int = 4,
    ) -> Stream:
        """Results of frames as they come: `with embedder.stream(Camera(0)) as results:`.

        One thread reads the source: an iterable of frames, a queue that ends with `None`, or a `Camera`. With `latest`
        the newest frame is embedded and those before it are dropped; without, every frame is, and the source waits
        once `ahead` frames do. By default every frame of a film is, and the newest of all else. No result comes later
        than `deadline` seconds after its frame arrived: older frames are dropped. A frame that is refused gives a
        result with an error. What the source raises is raised to the reader.

        Raises:
            ConfigError: options that cannot be, or a source that is none.
        """
        from advcal_edge.runtime.stream import Stream

        return Stream(self, source, latest=latest, deadline=deadline, top=top, ahead=ahead)

    def try_out(self) -> None:
        """Run one grey sample: warms the session up, and detects an output that is not an embedding early.

        Raises:
            EngineError: the engine fails, or its output is not an embedding.
        """
        from advcal_edge.runtime.sensors.sensor import SENSORS, choose_sensor

        if self.modality.preprocess in SENSORS:
            choose_sensor(self.modality)  # imports it, so that the first frame need not wait for that
        middle = np.float32(sum(self.spec.bounds) / 2)
        norm = float(np.linalg.norm(self(np.full((1, *self.spec.shape), middle, np.float32))))
        if abs(norm - 1) > NORM_TOLERANCE:
            raise EngineError(
                f"engine `{self.runner.path}` returns vectors of norm {norm:.3g}; expected unit norm",
                hint="the L2 normalisation belongs inside the graph, export again; the output of an engine made by"
                " others is normalised here where it is named: `--output NAME`",
            )
