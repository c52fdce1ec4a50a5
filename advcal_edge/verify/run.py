"""The verb: open a bundle, choose models, attack them, decide, and write the reports into the bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from advcal_edge.anchor import AnchorFile
from advcal_edge.bundle import Bundle
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.expectations import Expectations
from advcal_edge.manifest import MANIFEST
from advcal_edge.progress import Progress, silent
from advcal_edge.provenance import package_version
from advcal_edge.report.calibration import stated_figures
from advcal_edge.verify.elsewhere import calibration_inputs
from advcal_edge.verify.history import levels_left
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.outcome import Written, check_consistent, make_reports, write_report
from advcal_edge.verify.plan import choose_models
from advcal_edge.verify.recheck import recheck
from advcal_edge.verify.report import Report
from advcal_edge.verify.samples import BLOCK, HeldOut
from advcal_edge.verify.selftest import collect_expectations
from advcal_edge.verify.shard import Shard
from advcal_edge.verify.state import State
from advcal_edge.verify.verification import Stand, Verification


@dataclass(frozen=True, slots=True)
class ShardResult:
    """Result of one shard: where its results are, and what other shards have yet to do."""

    shard: Shard
    state: Path
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {"shard": str(self.shard), "state": str(self.state), "missing": list(self.missing)}


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks of a run; the default of each does nothing."""

    progress: Progress = silent
    opened: Callable[[Verification, VerifyOptions], None] = lambda run, options: None
    """Called with all models loaded, before anything is attacked."""
    stand: Stand = lambda standings: None
    """Called with where each engine stands, at the start and after every block of samples."""
    amend: Callable[[Report], Report] = lambda report: report
    """Called on each report before it is written; returns the report to write."""
    written: Callable[[Written], None] = lambda written: None
    """Called for each report in its bundle."""
    said: Callable[[str], None] = lambda line: None
    """Called with a line about workers: which there are, and which were lost."""


UNWATCHED = Watch()


def verify(
    bundle: Bundle | str | Path,
    options: VerifyOptions = VerifyOptions(),  # noqa: B008, frozen
    *,
    state: Path | None = None,
    watch: Watch = UNWATCHED,
) -> list[Report]:
    """Attack the engines of a bundle and their reference on the same samples, and write a report per engine into it.

    An interrupted run is resumed; its progress is stored in `state`, by default next to the bundle.

    >>> from advcal_edge import VerifyOptions, verify
    >>> report, = verify("B", VerifyOptions(engine="fp32", samples=16))
    >>> report.verdict  # too few samples to decide
    'inconclusive'

    Raises:
        ConfigError: options that cannot be honoured.
        BundleError: a file of the bundle was changed, or a report cannot be written.
        EngineError: an engine that does not fit its bundle.
        DependencyError: a package that the options need is not installed.
    """
    opened = open_bundle(bundle)
    with open_run(opened, options, state or state_root(opened)) as run:
        watch.opened(run, options)
        run.run(watch.progress, stand=watch.stand)
        return finish(opened, run, watch)


def verify_shard(
    bundle: Bundle | str | Path,
    shard: Shard,
    options: VerifyOptions = VerifyOptions(),  # noqa: B008
    *,
    state: Path | None = None,
    watch: Watch = UNWATCHED,
) -> ShardResult:
    """Do one part of a run; `merge_shards` decides when all parts are done.

    Raises:
        ConfigError: options that cannot be honoured; rebuilds, since each machine would build its own.
        BundleError, EngineError, DependencyError: as for `verify`.
    """
    if options.rebuilds:
        raise ConfigError(
            "`--shard` and `--rebuilds` exclude each other: another machine would build other engines",
            hint="leave out `--shard`",
        )
    if options.sequential:
        raise ConfigError(
            "`--shard` and `--sequential` exclude each other: a shard cannot know when the others have decided",
            hint="leave out `--sequential`, or `--shard`",
        )
    opened = open_bundle(bundle)
    with open_run(opened, options, state or state_root(opened)) as run:
        watch.opened(run, options)
        run.run(watch.progress, shard, watch.stand)
        return ShardResult(shard, run.state.folder, tuple(run.missing()))


def merge_shards(
    bundle: Bundle | str | Path, consent: Consent = NOTHING, *, state: Path | None = None, watch: Watch = UNWATCHED
) -> list[Report]:
    """Make the reports of a run that shards have completed, after the models confirmed what can be confirmed quickly.

    Raises:
        ConfigError: no run, several, one that is not complete, or one of another bundle or other engines.
        BundleError: results that these models, samples and attacks cannot have given; or as for `verify`.
        EngineError, DependencyError: as for `verify`.
    """
    opened = open_bundle(bundle)
    stored = State.find(state or state_root(opened))
    options = VerifyOptions.from_json(stored.run().get("request"), consent)
    if options.sequential:
        raise ConfigError(
            f"the run in `{stored.folder}` is sequential and has no shards",
            hint="give its command again, or name the shards' own: `--state FOLDER`",
        )
    with open_run(opened, options, stored.folder.parent) as run:
        if run.state.folder != stored.folder:
            raise ConfigError(
                f"the run in `{stored.folder}` is not one of `{opened.path}` with this reference on this machine",
                hint="merge with the bundle, the weights and the versions that the shards had",
            )
        if missing := run.missing():
            raise ConfigError(f"the run is not complete; missing: {'; '.join(missing)}", hint="run the other shards")
        watch.opened(run, options)
        recheck(run, watch.progress)
        return finish(opened, run, watch)


def open_bundle(bundle: Bundle | str | Path) -> Bundle:
    """Open the bundle at a path, or return the one given."""
    return bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)


def state_root(bundle: Bundle) -> Path:
    """Default folder for the state of runs: next to the bundle, since it is not part of the bundle.

    Raises:
        BundleError: the folder is a symbolic link.
    """
    path = bundle.path.resolve()
    root = path.with_name(f"{path.name}.verify")
    if root.is_symlink():  # it may have come with the bundle; only the user may choose another place
        raise BundleError(
            f"`{root}` is a link; expected a folder", hint=f"name its place: `--state FOLDER`, or remove `{root}`"
        )
    return root


def whole_run(options: VerifyOptions, samples: int) -> int:
    """The number of samples that identifies a run on `samples`: a sequential one may be extended, and stays itself."""
    return min(samples, BLOCK) if options.sequential else samples


@contextmanager
def open_run(
    bundle: Bundle, options: VerifyOptions, root: Path, *, request: Mapping[str, Any] | None = None
) -> Iterator[Verification]:
    """Load and check all models of a verification; its state lies below `root`.

    `request` are the options by which the run is known, if it was started elsewhere and `options` are those for here.

    Raises:
        ConfigError: settings that cannot be honoured.
        BundleError: a file of the bundle was changed.
    """
    budget, threat = options.budget(), options.threat(bundle)
    budget.check(len(bundle.centers().labels))
    probe, stated = bundle.samples("probe.npz"), stated_figures(bundle.manifest, f"`{bundle.path / MANIFEST}`")
    # of a sequential run the gallery is fixed beforehand, so that stopping earlier or later changes no sample's outcome
    held_out = HeldOut.open(
        probe,
        options.samples,
        threat,
        options.seed,
        calibration_inputs(bundle),
        AnchorFile.open(bundle, len(probe.y), bundle.centers().dim),
        every_partner=options.sequential,
    )
    with TemporaryDirectory(prefix="advcal-edge.") as workshop:
        models = choose_models(bundle, options, held_out, Path(workshop))
        run = {
            "request": request or replace(options, samples=whole_run(options, len(held_out))).to_json(),
            "models": {name: model.runner.fingerprint for name, model in models.all.items()},
            "gradients": {name: model.info["gradient"] for name, model in models.engines.items()},
            "budget": budget.to_json(),
            "threat": threat.to_json(),
            "bundle": bundle.identity(),
            "tool": package_version("advcal-edge"),
        }
        state = State.open(root, run)
        try:
            levels = levels_left(bundle, models, options, budget, threat)
            settings = (budget, options.margin, state, stated, options.per_class_margin, options.sequential, levels)
            yield Verification(models, bundle.modality, held_out, *settings, alpha=options.alpha)
        finally:
            state.close()


def finish(bundle: Bundle, run: Verification, watch: Watch = UNWATCHED) -> list[Report]:
    """Make and write the reports of a completed run, then remove its state."""
    reports = [watch.amend(report) for report in make_reports(bundle, run)]
    for report in reports:
        check_consistent(report, run.state)
    for report in reports:
        watch.written(write_report(bundle, report, expected(bundle, run, report)))
    if run.sequential and any(report.verdict == "inconclusive" for report in reports):
        run.state.close()  # its blocks are there when it is extended
    else:
        run.state.clear()
    return reports


def expected(bundle: Bundle, run: Verification, report: Report) -> Expectations | None:
    """What a self-test of the engine of a report repeats; None unless it passed at the bundle's own threat model."""
    if report.verdict != "pass" or run.samples.threat.to_json() != bundle.threat.to_json():
        return None
    sha256 = report.engine["sha256"]
    names = [name for name, model in run.models.engines.items() if model.info.get("sha256") == sha256]
    return collect_expectations(run, names[0]) if names else None
