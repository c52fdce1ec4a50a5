"""From what was asked of `verify` to who takes part, on which samples, and where the state of the run is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from advcal_edge.bundle import Bundle
from advcal_edge.cli.victims import (
    backward_graph,
    engine_victim,
    engines,
    reference_victim,
    trunk_victim,
)
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.errors import BundleError, ConfigError, DependencyError
from advcal_edge.precision import PRECISIONS
from advcal_edge.provenance import package_version
from advcal_edge.registry import choose
from advcal_edge.runtime.engine import listed_path
from advcal_edge.runtime.engine_file import graph_digest
from advcal_edge.stats import MARGIN
from advcal_edge.threat import NORMS, ThreatModel, parse_eps

if TYPE_CHECKING:
    from advcal_edge.verify import Budget, HeldOut, Lineup, Verification

TRUNK = "trunk"
SECOND_OPINION = 16  # samples that polygraphy runs too


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line; everything that the result depends on."""

    engine: str | None = None
    attacks: str = "quick"
    norm: str | None = None
    eps: str | None = None
    samples: int = 500
    margin: float = MARGIN
    losses: str | None = None
    reference: str = "auto"
    sources: str = "all"
    rebuilds: int = 0
    cross_check: bool = False
    seed: int = 0
    consent: Consent = field(default=NOTHING, compare=False)

    def budget(self) -> Budget:
        """The named budget, with other losses where some were asked for.

        Raises:
            ConfigError: unknown names.
        """
        from advcal_edge.verify import BUDGETS

        budget = choose("attack budget", self.attacks, BUDGETS)
        return budget if self.losses is None else budget.with_losses(names(self.losses))

    def threat(self, bundle: Bundle) -> ThreatModel:
        """The bundle's threat model, or one of another norm or radius; another norm brings a radius of equal energy.

        Raises:
            ConfigError: an unknown norm, a radius that is no number, none at all, or one beyond every input.
        """
        threat, shape = bundle.threat, bundle.modality.input.shape
        if self.norm is not None:
            threat = threat.with_norm(choose("norm", self.norm, NORMS), shape)
        if self.eps is not None:
            threat = threat.with_eps(parse_eps(self.eps))
        threat.check_reach(shape)
        if threat.eps == 0:
            raise ConfigError(
                "`--eps 0` leaves nothing to attack; expected a positive radius", hint="like `--eps 4/255`"
            )
        return threat

    def to_json(self) -> dict[str, Any]:
        """Plain types, without what may be loaded on this machine."""
        return {name: value for name, value in asdict(self).items() if name != "consent"}

    @classmethod
    def from_json(cls, data: object, consent: Consent) -> Request:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: written by another version, or nothing of the kind.
        """
        known = cls().to_json()
        if not isinstance(data, dict) or data.keys() != known.keys():
            raise ConfigError("the run to merge was started by another version", hint="run its shards with this one")
        for name, default in known.items():
            kinds = (str, type(None)) if default is None else (type(default),)
            if type(data[name]) not in (*kinds, *((int,) if kinds == (float,) else ())):
                raise ConfigError(
                    f"the run to merge has `{name}` as a {type(data[name]).__name__};"
                    f" expected {' or '.join(kind.__name__ for kind in kinds)}",
                    hint="run its shards again",
                )
        if data["samples"] < 1 or data["rebuilds"] < 0 or data["seed"] < 0:
            raise ConfigError("the run to merge has negative numbers", hint="run its shards again")
        return cls(**data, consent=consent)


def state_root(bundle: Bundle) -> Path:
    """Where runs on a bundle keep what they have done, unless told otherwise: beside it, since it is not part of it.

    Raises:
        BundleError: it is a link.
    """
    path = bundle.path.resolve()
    root = path.with_name(f"{path.name}.verify")
    if root.is_symlink():  # it may have come with the bundle; a place elsewhere is a person's to name
        raise BundleError(
            f"`{root}` is a link; expected a folder", hint=f"name its place: `--state FOLDER`, or remove `{root}`"
        )
    return root


@contextmanager
def verification(bundle: Bundle, request: Request, root: Path) -> Iterator[Verification]:
    """Everything that was asked for, loaded and checked; its state lies below `root`.

    Raises:
        ConfigError: settings that cannot be honoured.
        BundleError: a file of the bundle was changed.
    """
    from advcal_edge.verify import HeldOut, State, Verification

    budget, threat = request.budget(), request.threat(bundle)
    budget.check(len(bundle.centers().labels))
    paths = engines(bundle, request.engine)
    held_out = HeldOut.open(bundle.samples("probe.npz"), request.samples, threat, request.seed)
    with TemporaryDirectory(prefix="advcal-edge.") as workshop:
        players = lineup(bundle, request, paths, held_out, Path(workshop))
        run = {
            "request": replace(request, samples=len(held_out)).to_json(),
            "players": {name: player.victim.runner.fingerprint for name, player in players.players.items()},
            "budget": budget.to_json(),
            "threat": threat.to_json(),
            "bundle": bundle.identity(),
            "tool": package_version("advcal-edge"),
        }
        state = State.open(root, run)
        try:
            yield Verification(players, bundle.modality, held_out, budget, request.margin, state)
        finally:
            state.close()


def lineup(bundle: Bundle, request: Request, paths: list[Path], samples: HeldOut, workshop: Path) -> Lineup:
    """Reference, engines with their rebuilds, and sources.

    Raises:
        ConfigError: unknown sources, or engines that cannot be rebuilt.
    """
    from advcal_edge.verify import Lineup, Player
    from advcal_edge.verify.examination import detect_randomness

    victim, info = reference_victim(bundle, request.reference, request.consent)
    reference = Player(victim, info)
    backward = backward_graph(bundle)
    candidates = {}
    for path in paths:
        found, told = engine_victim(bundle, path, backward, request.consent)
        if request.cross_check:
            told = {**told, "cross_check": second_opinion(bundle, found.runner)}
        candidates[engine_name(told)] = Player(found, told, detect_randomness(found, samples))
    sources = {}
    for name in source_names(bundle, request.sources, info["kind"]):
        if name in candidates and candidates[name].info["listed"]:
            sources[name] = candidates[name]
        elif name == TRUNK:
            sources[name] = Player(*trunk_victim(bundle, request.consent))
        else:
            sources[name] = Player(
                *engine_victim(bundle, listed_path(bundle, PRECISIONS[name].graph), backward, request.consent)
            )
    builds: dict[str, list[str]] = {}
    if request.rebuilds:
        from advcal_edge.cli.rebuilding import rebuild

        for name, player in list(candidates.items()):
            names_of = {player.info["sha256"]: name}  # a build of the same bytes needs no attack of its own
            builds[name] = []
            for path in rebuild(bundle, player.info, request, workshop):
                digest = graph_digest(path)
                if digest not in names_of:
                    names_of[digest] = f"{name} build {len(names_of) + 1}"
                    found, told = engine_victim(bundle, path, backward, replace(request.consent, built=True))
                    calls = detect_randomness(found, samples)
                    candidates[names_of[digest]] = Player(found, {**told, "path": player.info["path"]}, calls)
                builds[name].append(names_of[digest])
    return Lineup(reference, candidates, sources, builds)


def second_opinion(bundle: Bundle, runner: Any) -> dict[str, Any]:
    """How far polygraphy is from us on the same engine and the first samples of the probe.

    Raises:
        DependencyError: polygraphy is not installed.
        EngineError: it cannot run the engine, or disagrees.
    """
    from advcal_edge.runtime.cross_check import cross_check

    return cross_check(runner, bundle.probe(SECOND_OPINION).x).to_json()


def engine_name(info: Mapping[str, Any]) -> str:
    """The precision of a graph of the bundle, that and the hash of a plan, else the file, under a name of its own."""
    if info["listed"] and "plan" in info:
        return f"plan {info['precision']} {info['sha256'][:8]}"
    return str(info["precision"]) if info["listed"] else f"file {info['path']}"


def source_names(bundle: Bundle, asked: str, reference: str) -> list[str]:
    """Who lends inputs: all there are, those named, or `none`.

    Raises:
        ConfigError: a name that does not exist here.
        DependencyError: the trunk, without torch.
    """
    graphs = [name for name, p in PRECISIONS.items() if p.on_cpu and bundle.has(p.graph)]
    adapted = bundle.section("adapter").get("kind") != "identity" if "adapter" in bundle.manifest else False
    there = ([TRUNK] if adapted and reference == "torch" else []) + graphs
    if asked in ("all", "none"):
        return there if asked == "all" else []
    chosen = names(asked)
    for name in chosen:
        if name == TRUNK and adapted and reference != "torch":
            raise DependencyError("torch", extra="calibrate", purpose="`--sources trunk`")
        choose("source", name, dict.fromkeys(there))
    return [name for name in there if name in chosen]


def names(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
