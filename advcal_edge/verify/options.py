"""Options of one `verify` run, validated and stored with its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose
from advcal_edge.report.selective import ALPHA
from advcal_edge.runtime.interface import AS_DECLARED, Interface
from advcal_edge.stats import MARGIN
from advcal_edge.threat import NORMS, ThreatModel, parse_eps
from advcal_edge.verify.budget import BUDGETS, Budget

KINDS: Mapping[str, tuple[type, ...]] = {"per_class_margin": (float, type(None))}
"""Types of options that their default does not tell."""


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What to verify and how hard; everything that the result depends on.

    Raises:
        ConfigError: an invalid number; names are checked when they are used.
    """

    engine: str | None = None
    """A precision like `fp16`, or the path of a graph, IR or plan; None for every engine of the bundle."""
    attacks: str = "quick"
    """Name of the budget: `quick`, `standard` or `full`."""
    norm: str | None = None
    """`linf` or `l2`; None for the bundle's norm."""
    eps: str | None = None
    """Radius as a fraction of the bounds, like `4/255`; None for the bundle's radius."""
    samples: int = 500
    """Maximum number of held-out samples."""
    margin: float = MARGIN
    """Largest drop allowed, as a fraction of the samples."""
    per_class_margin: float | None = field(default=None, kw_only=True)
    """Largest drop allowed in any class, as a fraction of its samples; None if classes do not decide."""
    alpha: float = field(default=ALPHA, kw_only=True)
    """Largest share of wrong answers among those that an engine accepts where it may abstain."""
    losses: str | None = None
    """Comma-separated losses of APGD, in place of the budget's."""
    reference: str = "auto"
    """`torch`, `onnx` (the fp32 graph), or `auto`: torch if installed."""
    sources: str = "all"
    """Models whose adversarial examples are also tried: comma-separated `trunk` and precisions, or `all` or `none`."""
    rebuilds: int = 0
    """Number of rebuilds per engine."""
    cross_check: bool = False
    """Run the first samples in polygraphy too."""
    seed: int = 0
    consent: Consent = field(default=NOTHING, compare=False)
    """What the bundle may load on this machine."""
    device: str = field(default="auto", compare=False)
    """`auto`, `cpu`, `cuda` or `cuda:1`: where models in torch compute."""
    gradient: str = "auto"
    """Backward pass of the engines: `graph`, `torch`, or `auto`: the bundle's graph or plan if there is one."""
    output: str | None = None
    """Of an engine made by others: name of the output with the embeddings; None if only one can be it."""
    layout: str | None = None
    """Of an engine made by others: `nchw` or `nhwc`; None if the shape of its input tells."""
    scale: float = 1.0
    """Of an engine made by others: factor for x before it is handed over."""
    sequential: bool = False
    """Stop as soon as the samples decide, at `samples` at the latest; a test that may be looked at and extended."""

    def budget(self) -> Budget:
        """The named budget, with the losses of this run if given.

        Raises:
            ConfigError: unknown names.
        """
        budget = choose("attack budget", self.attacks, BUDGETS)
        return budget if self.losses is None else budget.with_losses(words(self.losses))

    def interface(self) -> Interface:
        """How the engine is called, as far as its declaration does not tell.

        Raises:
            ConfigError: an unknown layout, a scale that is not positive, or no engine that this could be about.
        """
        interface = Interface(self.output, self.layout, self.scale)
        if self.engine is None and interface != AS_DECLARED:
            raise ConfigError(
                "`--output`, `--layout` and `--scale` describe one engine made by others, and none is named",
                hint="name it: `--engine FILE`",
            )
        return interface

    def threat(self, bundle: Bundle) -> ThreatModel:
        """The bundle's threat model, or one of another norm or radius; another norm implies a radius of equal energy.

        Raises:
            ConfigError: an unknown norm, a radius that is not a number, no radius, or one larger than the input space.
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
        """Plain types, without what concerns this machine."""
        return {name: value for name, value in asdict(self).items() if name not in ("consent", "device")}

    @classmethod
    def from_json(cls, data: object, consent: Consent) -> VerifyOptions:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: written by another version, or malformed.
        """
        known = cls().to_json()
        if not isinstance(data, dict) or data.keys() != known.keys():
            raise ConfigError("the run to merge was started by another version", hint="run its shards with this one")
        for name, default in known.items():
            kinds = KINDS.get(name) or ((str, type(None)) if default is None else (type(default),))
            if type(data[name]) not in (*kinds, *((int,) if float in kinds else ())):
                raise ConfigError(
                    f"the run to merge has `{name}` as a {type(data[name]).__name__};"
                    f" expected {' or '.join(kind.__name__ for kind in kinds)}",
                    hint="run its shards again",
                )
        if data["samples"] < 1 or data["rebuilds"] < 0 or data["seed"] < 0:
            raise ConfigError("the run to merge has negative numbers", hint="run its shards again")
        return cls(**data, consent=consent)


def words(text: str) -> tuple[str, ...]:
    """Split at commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
