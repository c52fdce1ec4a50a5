"""What `verify` is asked to do: the options of one run, checked and kept with its results."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from advcal_edge.bundle import Bundle
from advcal_edge.consent import NOTHING, Consent
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose
from advcal_edge.stats import MARGIN
from advcal_edge.threat import NORMS, ThreatModel, parse_eps
from advcal_edge.verify.budget import BUDGETS, Budget


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What to verify and how hard; all that the result depends on.

    Raises:
        ConfigError: a number that makes no sense; names are looked up when they are used.
    """

    engine: str | None = None
    """A precision like `fp16`, or the path of an ONNX file or plan; None for every engine of the bundle."""
    attacks: str = "quick"
    """Name of the budget: `quick`, `standard` or `full`."""
    norm: str | None = None
    """`linf` or `l2`; None for the bundle's own."""
    eps: str | None = None
    """Radius as a fraction of the bounds, like `4/255`; None for the bundle's own."""
    samples: int = 500
    """Held-out samples, at most."""
    margin: float = MARGIN
    """Largest drop allowed, as a fraction of the samples."""
    losses: str | None = None
    """Losses of APGD between commas, in place of the budget's."""
    reference: str = "auto"
    """`torch`, `onnx` (the fp32 graph), or `auto`: torch where it is installed."""
    sources: str = "all"
    """Models whose adversarial examples are also tried: `trunk` and precisions between commas, `all` or `none`."""
    rebuilds: int = 0
    """Number of rebuilds per engine."""
    cross_check: bool = False
    """Whether polygraphy runs the first samples too."""
    seed: int = 0
    consent: Consent = field(default=NOTHING, compare=False)
    """What may be loaded on this machine that the bundle names."""

    def budget(self) -> Budget:
        """The named budget, with other losses where some were asked for.

        Raises:
            ConfigError: unknown names.
        """
        budget = choose("attack budget", self.attacks, BUDGETS)
        return budget if self.losses is None else budget.with_losses(words(self.losses))

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
    def from_json(cls, data: object, consent: Consent) -> VerifyOptions:
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


def words(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
