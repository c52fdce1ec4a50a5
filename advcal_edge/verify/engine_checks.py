"""Checks and the curve of accuracy against eps, measured on one engine before it is compared under attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advcal_edge.attacks import PGD, Attack, AttackedModel, run_attack
from advcal_edge.progress import Progress, silent
from advcal_edge.report.checks import CHECKED, Check, measured_checks, read_check
from advcal_edge.report.raised import NOTHING_RAISED, Raised
from advcal_edge.report.results import CURVE_STEPS, DRAWN, MULTIPLES, Curve, Point
from advcal_edge.report.value import Value
from advcal_edge.spec import TensorSpec
from advcal_edge.threat import ThreatModel
from advcal_edge.verify.checks import run_checks
from advcal_edge.verify.checks.outputs import repeatable
from advcal_edge.verify.checks.trials import try_attacks
from advcal_edge.verify.elsewhere import inputs_elsewhere
from advcal_edge.verify.model_set import CALLS, predict
from advcal_edge.verify.recorder import take_raised
from advcal_edge.verify.samples import HeldOut, Samples


@dataclass(frozen=True, slots=True, eq=False)
class EngineChecks:
    """Results of one engine alone: its checks, and its accuracy against eps."""

    checks: Sequence[Check]
    curve: Curve | None
    """Accuracy against eps; None for an engine without a gradient."""
    raised: Raised = NOTHING_RAISED
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain types for the stored state of a run."""
        checks = {check.name: dict(check.raw) for check in self.checks}
        curve = None if self.curve is None else self.curve.to_json()
        return {"checks": checks, "curve": curve, **({"raised": self.raised.to_json()} if self.raised.calls else {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EngineChecks:
        """Read what `to_json` wrote.

        Raises:
            BundleError: malformed.
        """
        value = Value(data, "engine checks")
        checks = [read_check(name, value["checks"][name]) for name in measured_checks() if value["checks"].get(name)]
        raised = NOTHING_RAISED if (note := value.get("raised")) is None else Raised.read(note)
        return cls(checks, read_curve(value), raised, value["seconds"].number())


def read_curve(note: Value) -> Curve | None:
    """The curve in a note of a run.

    Raises:
        BundleError: malformed.
    """
    return None if note["curve"].value is None else Curve.read(note["curve"])


def detect_randomness(model: AttackedModel, samples: HeldOut) -> int:
    """Number of answers that an attack averages: 1 if the model is deterministic, else `CALLS`."""
    return 1 if repeatable(model, samples.head(CHECKED)).status == "pass" else CALLS


def check_engine(engine: AttackedModel, samples: HeldOut, reference: AttackedModel, spec: TensorSpec) -> EngineChecks:
    """Run every check that needs the engine, or the engine and its reference on clean inputs."""
    take_raised({"": engine})
    few = samples.head(CHECKED)
    curve, trials = draw_curve(engine, samples), try_attacks(engine, few)
    elsewhere = inputs_elsewhere(samples, spec)
    facts = {"engine": engine, "samples": few, "trials": trials, "reference": reference, "elsewhere": elsewhere}
    checks = run_checks(facts)
    return EngineChecks(checks, curve, take_raised({"": engine}).get("", NOTHING_RAISED))


def draw_curve(model: AttackedModel, samples: HeldOut) -> Curve | None:
    """Measure accuracy against eps; None without a gradient."""
    if model.gradient is None:
        return None
    return measure_curve(model, samples.head(DRAWN), PGD(steps=CURVE_STEPS))


def measure_curve(
    model: AttackedModel,
    samples: Samples,
    attack: Attack,
    multiples: Sequence[float] = MULTIPLES,
    progress: Progress = silent,
) -> Curve:
    """Attack every sample at each of `multiples` of the threat's radius, and at one that reaches every legal input.

    Each radius has its own attacks and starts; results of smaller radii are not carried over. At radius zero the clean
    label counts.

    Raises:
        ConfigError: the attack needs a gradient and the model has none.
    """
    points = []
    for stream, eps in enumerate(radii(samples.threat, samples.x.shape[1:], multiples)):
        if eps == 0:
            points.append(Point(eps, predict(model, samples.x) == samples.y))
            continue
        ball = samples.threat.with_eps(eps)
        outcome = run_attack(
            attack,
            model,
            samples.x,
            samples.y,
            ball,
            route="curve",
            seed=samples.seed,
            stream=stream,
            progress=progress,
        )
        points.append(Point(eps, ~outcome.success))
    return Curve(repr(attack), points)


def radii(threat: ThreatModel, shape: Sequence[int], multiples: Sequence[float]) -> list[float]:
    """Ascending multiples of eps, then the largest distance between two legal inputs."""
    whole = threat.farthest(shape)
    return [*sorted({m * threat.eps for m in multiples if m * threat.eps < whole}), whole]
