"""Interface of attacks and attacked models, how success is judged, and the registry of attacks that `verify` uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
from array_api_compat import array_namespace, is_torch_array
from numpy.typing import NDArray

from advcal_edge.centers import Centers
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.model import Gradient, Runner
from advcal_edge.progress import Progress, silent
from advcal_edge.threat import Array, Norm, ThreatModel

ATTACK_BATCH = 128

Criterion = Callable[[Array, Array, Centers], Array]
"""Maps embeddings z (n, d), classes y (n,) and centers to where (n,) an attack has won."""


def mislabelled(z: Array, y: Array, centers: Centers) -> Array:
    """Where (n,) the best center is another class than y; an embedding that is not finite has no class."""
    return centers.predict(z) != y


def never(z: Array, y: Array, centers: Centers) -> Array:
    """Nowhere (n,): an attack on a model with this criterion goes on to the end and keeps the highest loss."""
    return y != y  # false in every array library, on its device


@dataclass(frozen=True, slots=True, eq=False)
class AttackedModel:
    """A model under attack: its forward pass, its centers and, for a white box, its gradient."""

    runner: Runner
    centers: Centers
    gradient: Gradient | None = None
    place: Callable[[NDArray[Any]], Array] = np.asarray  # into the array library and device of the runner
    criterion: Criterion = mislabelled
    info: Mapping[str, Any] = field(default_factory=dict)
    """Description of the model in a report: kind, fingerprint, hashes."""
    calls: int = 1
    """Answers averaged per query of an attack; more than one for a random model."""

    def fooled(self, z: Array, y: Array) -> Array:
        """Where (n,) an attack that led to embeddings z (n, d) of samples of classes y (n,) has won."""
        return self.criterion(z, y, self.centers)

    def white_box(self) -> Gradient:
        """The gradient.

        Raises:
            ConfigError: this model is a black box.
        """
        if self.gradient is None:
            raise ConfigError(
                "this attack needs gradients and the model has none",
                hint="attack it as a black box, or verify it with `--gradient torch`",
            )
        return self.gradient


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """Result of a search: candidates x (n, ...) and the number of forward or backward calls for each (n,)."""

    x: Array
    queries: NDArray[np.int64]


class Attack(Protocol):
    """A search for candidates. Projection and judgement are done by the caller, see `run_attack`."""

    def propose(
        self, model: AttackedModel, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator
    ) -> Proposal:
        """Candidates for clean samples x (n, ...) of classes y (n,)."""
        ...


Route = Literal["first", "gradient", "difference", "black box", "label only", "abstention", "abstention by scores"]
"""How `verify` uses an attack: on every sample and every model; on samples that withstood the first; on the difference
of two models; with scores only; with labels only; on the rule by which an engine abstains, with gradients or with
scores only. The first three and `abstention` need gradients. What the last two find does not enter the comparison."""

Planner = TypeVar("Planner", bound=Callable[..., "Sequence[Attack]"])


@dataclass(frozen=True, slots=True)
class AttackPlan:
    """A registered use of an attack by `verify`."""

    name: str
    route: Route
    order: int
    """Position among the attacks of its route."""
    norms: tuple[Norm, ...]
    summary: str
    """A short description, a template over the numbers of the budget; may be empty."""
    attacks: Callable[..., Sequence[Attack]]
    needs: tuple[str, ...]
    """Numbers of the budget that `attacks` takes, and `losses` or `classes`; a number missing from the budget is 0."""

    @property
    def needs_gradient(self) -> bool:
        """Are models without a gradient left out?"""
        return self.route in ("first", "gradient", "difference", "abstention")


PLANS: dict[str, AttackPlan] = {}
"""Plans by name, for the modules imported so far; `attacks.plans` imports every module of this package."""


def planned(
    name: str, *, route: Route, order: int, summary: str = "", norms: tuple[Norm, ...] = ("linf", "l2")
) -> Callable[[Planner], Planner]:
    """Register the decorated function, which returns the attacks of a budget, for a route of `verify`.

    Its parameters name numbers of the budget, `losses`, or `classes`, the number of classes.

    Raises:
        TypeError: a name that is taken, or an unknown route.
    """

    def register(attacks: Planner) -> Planner:
        if name in PLANS:
            raise TypeError(f"attack `{name}` is planned twice")
        if route not in get_args(Route):
            raise TypeError(f"attack `{name}` has the route `{route}`; expected one of {', '.join(get_args(Route))}")
        needs = tuple(inspect.signature(attacks).parameters)
        PLANS[name] = AttackPlan(name, route, order, norms, summary, attacks, needs)
        return attacks

    return register


@dataclass(frozen=True, slots=True, eq=False)
class AttackOutcome:
    """Per-sample results: adversarial inputs, whether the model's label is wrong, distance, cost."""

    x_adv: NDArray[np.float32]
    success: NDArray[np.bool_]
    distance: NDArray[np.float32]
    queries: NDArray[np.int64]
    route: str
    attack: str
    seed: int

    @property
    def robust_accuracy(self) -> float:
        """Share of samples on which the attack failed.

        Raises:
            InputError: there are no samples.
        """
        if not len(self.success):
            raise InputError("no sample was attacked; expected at least one", hint="raise `--samples`")
        return 1.0 - float(self.success.mean())


def run_attack(
    attack: Attack,
    model: AttackedModel,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    threat: ThreatModel,
    *,
    route: str,
    seed: int,
    stream: int = 0,
    batch: int = ATTACK_BATCH,
    first: int = 0,
    progress: Progress = silent,
) -> AttackOutcome:
    """Attack in batches; success is judged by the model's own runner on the projected sample.

    Without samples the outcome is empty.
    Each batch has its own random stream (seed, stream, batch index), so a result does not depend on earlier runs. The
    index counts from `first`: whoever attacks the batches of a set one by one gets the same as for the whole set.
    """
    adversarial = np.empty_like(x)
    success = np.zeros(len(x), dtype=np.bool_)
    queries = np.zeros(len(x), dtype=np.int64)
    stage = f"{route}: {attack}"
    for index, start in enumerate(range(0, len(x), batch), first):
        rows = slice(start, min(start + batch, len(x)))
        rng = np.random.default_rng([seed, stream, index])
        x0 = model.place(x[rows])
        proposal = attack.propose(model, x0, model.place(y[rows]), threat, rng)
        projected = threat.project(proposal.x, x0)  # attacks are not trusted to stay inside the ball
        xp = array_namespace(x0)
        projected = xp.where(xp.isfinite(projected), projected, x0)  # a broken gradient may give NaN or infinity
        adversarial[rows] = to_numpy(projected)
        success[rows] = to_numpy(model.fooled(model.runner(projected), model.place(y[rows])))
        queries[rows] = proposal.queries
        progress(stage, rows.stop, len(x))
    distance = threat.distance(adversarial, x)
    return AttackOutcome(adversarial, success, distance, queries, route, repr(attack), seed)


def to_numpy(array: Array) -> NDArray[Any]:
    """Copy an array of any library to the host."""
    if is_torch_array(array):
        array = array.detach().cpu()
    return np.asarray(array)
