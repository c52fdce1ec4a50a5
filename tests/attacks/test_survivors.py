"""Who is still asked: nobody once fooled, and what is counted is what was asked."""

from __future__ import annotations

import numpy as np
import pytest
from counting import Counting
from toy import THREAT, toy

from advcal_edge.attacks import APGD, PGD, Attack, Proposal, RayS, Square, TargetedAPGD
from advcal_edge.attacks.base import to_numpy

ATTACKS: list[Attack] = [
    PGD(steps=6),
    PGD(steps=4, restarts=3, momentum=0.5, loss="margin"),
    PGD(steps=4, restarts=2, loss="infonce"),
    PGD(steps=4, select="strongest"),
    PGD(steps=4, select="last"),
    PGD(steps=4, loss="push", select="last"),
    APGD(steps=6, restarts=2),
    APGD(steps=6, loss="infonce"),
    TargetedAPGD(steps=4, targets=3, restarts=2),
    Square(queries=25),
    Square(queries=25, loss="push"),
]


def attacked(attack: Attack, n: int = 40) -> tuple[Counting, Proposal, np.ndarray]:
    model, x, y = toy(n)
    counting = Counting(model, x)
    asked = counting.attacked()
    found = attack.propose(asked, asked.place(x), asked.place(y), THREAT, np.random.default_rng(0))
    won = to_numpy(model.centers.predict(model.runner(found.x))) != y
    return counting, found, won


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_queries_are_what_was_asked(attack: Attack) -> None:
    counting, found, _ = attacked(attack)
    np.testing.assert_array_equal(found.queries, counting.asked)


def test_the_limit_of_queries_is_hard() -> None:
    for attack in (Square(queries=25), Square(queries=25, loss="push"), RayS(queries=25)):
        _, found, won = attacked(attack)
        assert (found.queries[~won] == 25).all()
        assert found.queries.max() == 25


def test_a_fooled_sample_leaves_and_restarts_meet_the_others_only() -> None:
    _, found, won = attacked(PGD(steps=4, restarts=3))
    assert won.any()
    assert not won.all()
    assert (found.queries[~won] == 1 + 3 * 5).all()
    assert (found.queries[won] < 1 + 3 * 5).all()


def test_all_samples_take_all_steps_where_the_last_or_the_strongest_is_wanted() -> None:
    for select, queries in (("last", 4), ("strongest", 6)):
        _, found, _ = attacked(PGD(steps=4, select=select))  # type: ignore[arg-type]
        assert (found.queries == queries).all()


def test_a_sample_that_is_wrong_when_clean_costs_one_query_and_stays_as_it_is() -> None:
    model, x, y = toy(8)
    wrong = (y + 1) % 6
    found = PGD(steps=5).propose(model, model.place(x), model.place(wrong), THREAT, np.random.default_rng(0))
    assert (found.queries == 1).all()
    np.testing.assert_array_equal(to_numpy(found.x), x)


def test_the_strongest_iterate_fools_wherever_the_first_does_and_by_more() -> None:
    model, x, y = toy(60)
    rng = np.random.default_rng
    first = PGD(steps=8).propose(model, model.place(x), model.place(y), THREAT, rng(0)).x
    strongest = PGD(steps=8, select="strongest").propose(model, model.place(x), model.place(y), THREAT, rng(0)).x
    gaps = []
    for found in (first, strongest):
        scores = to_numpy(model.centers.scores(model.runner(found)))
        true = scores[np.arange(60), y]
        scores[np.arange(60), y] = -np.inf
        gaps.append(scores.max(axis=1) - true)
    np.testing.assert_array_equal(gaps[0] > 0, gaps[1] > 0)
    assert gaps[1][gaps[1] > 0].mean() > 1.5 * gaps[0][gaps[0] > 0].mean()
