"""A state that somebody wrote by hand is refused: by its own bookkeeping, or by the models when it is merged."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from paired import BUDGET, INFO, THREAT, Toy
from runs import HASHES

from advcal_edge.errors import BundleError
from advcal_edge.report.results import SECOND_LOOK
from advcal_edge.threat import ThreatModel
from advcal_edge.verify import HeldOut, ModelSet, State, Verification
from advcal_edge.verify.block import Attempt, Block
from advcal_edge.verify.bookkeeping import farthest, planned_attempts
from advcal_edge.verify.outcome import collect
from advcal_edge.verify.recheck import recheck

RUN = {"what": "a test"}
FIRST = 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Verification:
    """A finished run of an honest engine on 200 samples."""
    folder = tmp_path_factory.mktemp("toy")
    toy = Toy.make(folder)
    models = ModelSet(replace(toy.attacked(), info={"kind": "onnx"}), {"fp32": replace(toy.attacked(), info=INFO)}, {})
    state = State.open(folder / "state", RUN)
    found = Verification(models, toy.linear.modality, HeldOut.of(toy.probe, THREAT, seed=0), BUDGET, 0.05, state)
    found.run()
    return found


@pytest.fixture
def block(run: Verification) -> Block:
    found = run.state.block(1)
    assert found is not None
    return copy.deepcopy(found)


def merge(run: Verification) -> None:
    """Everything that `--merge` asks of a state."""
    recheck(run)
    collect(run, "fp32", context={}, hashes=HASHES).to_json()


def put(block: Block, position: int, **parts: object) -> Block:
    """The block with parts of one attack replaced."""
    attempts = list(block.attempts)
    attempts[position] = replace(attempts[position], **parts)  # type: ignore[arg-type]
    return replace(block, attempts=attempts)


def position(block: Block, route: str, crafted_on: str) -> int:
    """Where an attack stands."""
    return next(k for k, one in enumerate(block.attempts) if (one.route, one.crafted_on) == (route, crafted_on))


def unbroken(block: Block) -> Block:
    """No attack fools the engine."""
    attempts = [
        replace(one, rank={**one.rank, "fp32": np.zeros_like(one.queries)}) if "fp32" in one.rank else one
        for one in block.attempts
    ]
    return replace(block, attempts=attempts)


def some_wrong(block: Block) -> Block:
    """The engine gets five samples wrong from the start, so that nobody need attack them."""
    rank = block.rank["fp32"].copy()
    rank[:5] = 1
    return replace(block, rank={**block.rank, "fp32": rank})


def cheap(block: Block) -> Block:
    k = position(block, "black box", "fp32")
    return put(block, k, queries=np.minimum(block.attempts[k].queries, 1))


def dear(block: Block) -> Block:
    return put(block, FIRST, queries=block.attempts[FIRST].queries * 3)


def unasked(block: Block) -> Block:
    """Queries for samples that were not attacked."""
    k = position(block, "label only", "fp32")
    return put(block, k, queries=np.where(block.attempts[k].attacked, block.attempts[k].queries, 1))


def left_out(block: Block) -> Block:
    k = position(block, "black box", "fp32")
    one = block.attempts[k]
    attacked = one.attacked.copy()
    attacked[np.flatnonzero(attacked)[0]] = False
    kept = {name: np.where(attacked, rank, 0) for name, rank in one.rank.items()}
    return put(block, k, attacked=attacked, queries=np.where(attacked, one.queries, 0), rank=kept)


def missing(block: Block) -> Block:
    return replace(block, attempts=block.attempts[:-1])


def unseen(block: Block) -> Block:
    k = next(k for k, one in enumerate(block.attempts) if one.route == SECOND_LOOK)
    nothing = np.zeros_like(block.attempts[k].attacked)
    return put(block, k, attacked=nothing, queries=nothing.astype(np.int64))


def swapped(block: Block) -> Block:
    first, second, *rest = block.attempts
    return replace(block, attempts=[second, first, *rest])


def other_steps(block: Block) -> Block:
    return put(block, FIRST, attack=block.attempts[FIRST].attack.replace("steps=5", "steps=1"))


def no_winners(block: Block) -> Block:
    found = block.winners["fp32"]
    return replace(block, winners={"fp32": replace(found, fooled=np.zeros_like(found.fooled))})


def far_winners(block: Block) -> Block:
    found = block.winners["fp32"]
    assert len(found.rows)
    return replace(block, winners={"fp32": replace(found, x_adv=1 - found.clean)})


def impossible_drift(block: Block) -> Block:
    return replace(block, drift={"fp32": np.full_like(block.drift["fp32"], -1)})


def not_asked(block: Block) -> Block:
    return replace(block, answers={})


def never_wrong(block: Block) -> Block:
    margins = block.answers["fp32"].margins.copy()
    margins[1] = -np.inf
    return replace(block, answers={"fp32": replace(block.answers["fp32"], margins=margins)})


def ever_sure(block: Block) -> Block:
    margins = block.answers["fp32"].margins.copy()
    margins[2] = 1.5
    return replace(block, answers={"fp32": replace(block.answers["fp32"], margins=margins)})


def rule_spared(block: Block) -> Block:
    return replace(block, answers={"fp32": replace(block.answers["fp32"], queries={})})


IMPOSSIBLE: Mapping[Callable[[Block], Block], str] = {
    unbroken: "on [0-9]+ samples, not on the [0-9]+ that were standing",
    some_wrong: "on [0-9]+ samples, not on the [0-9]+ that were standing",
    cheap: "black box attack on fp32 with queries that it cannot have used",
    dear: "first attack on reference with queries that it cannot have used",
    unasked: "label only attack on fp32 with queries that it cannot have used",
    left_out: "black box attack on fp32 on [0-9]+ samples, not on",
    unseen: "has a second look attack on [a-z0-9]+ on 0 samples, not on",
    missing: "was not attacked and looked at as this run does",
    swapped: "was not attacked and looked at as this run does",
    other_steps: "was not attacked and looked at as this run does",
    no_winners: "has inputs that fool fp32 for 0 samples; its attacks fool",
    far_winners: "has inputs that fool fp32 from outside the ball",
    not_asked: "knows not how sure the engines were",
    never_wrong: "has margins of wrong answers of fp32 for other samples than those that fool it",
    ever_sure: "has a smallest margin of fp32 that is not the smallest",
    rule_spared: "has other attacks on the rule of fp32 than APGD",
    impossible_drift: "has a drift of fp32 that no embeddings have",
}
"""Changes that no run can have written, and what is said of them."""


@pytest.mark.parametrize(("edit", "words"), IMPOSSIBLE.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_what_no_run_can_write_is_refused_without_a_model(
    run: Verification, block: Block, edit: Callable[[Block], Block], words: str
) -> None:
    refuse(run, block, edit(block), words)


def refuse(run: Verification, honest: Block, forged: Block, words: str) -> None:
    """Merging stops at the forged block, and says so; the honest one is put back."""
    run.state.keep(1, forged)
    try:
        with pytest.raises(BundleError, match=words) as caught:
            merge(run)
        assert re.search(r"block 1 of `.*state", str(caught.value))
        assert "remove" in (caught.value.hint or "")
    finally:
        run.state.keep(1, honest)


@pytest.mark.parametrize(
    "threat",
    [
        ThreatModel("linf", 4 / 255, (0.0, 1.0)),
        ThreatModel("linf", 0.25 / 255, (-1.0, 1.0)),
        ThreatModel("linf", 4 / 255, (-16.0, 12.0)),
        ThreatModel("l2", 0.5, (0.0, 1.0)),
        ThreatModel("l2", 3.5, (-16.0, 12.0)),
    ],
    ids=str,
)
def test_what_the_projection_leaves_is_in_the_ball(threat: ThreatModel) -> None:
    """float32 rounds the edge of the ball; no honest input may count as outside."""
    rng, (low, high) = np.random.default_rng(0), threat.bounds
    x = rng.uniform(low, high, (64, 3, 64, 64)).astype(np.float32)
    moved = threat.project(x + (high - low) * rng.standard_normal(x.shape, np.float32), x)
    assert (threat.distance(moved, x) <= farthest(threat)).all()
    assert threat.distance(moved, x).max() > 0.99 * threat.eps
    assert farthest(threat) < 1.01 * threat.eps


def test_an_honest_state_is_merged_on_the_same_machine_without_a_difference(run: Verification) -> None:
    merge(run)
    for index, samples in run.samples.blocks(range(run.samples.count)):
        stored = run.block(index)
        for name, model in run.models.all.items():
            z = model.runner(samples.x)
            assert np.array_equal(stored.embeddings[f"clean@{name}"], z)


def test_planned_attempts_are_those_that_run(run: Verification) -> None:
    planned = list(planned_attempts(run.models, run.samples, run.budget, run.modality))
    assert [one.key for one in run.block(0).attempts] == planned


def replayed(block: Block, rank: Mapping[str, np.ndarray]) -> Block:  # type: ignore[type-arg]
    """A forger's work: other clean ranks, and attacks that fit them and break nothing further."""
    attempts: list[Attempt] = []
    found = replace(block, rank=rank, attempts=attempts)
    from advcal_edge.report.implied import cost_of
    from advcal_edge.verify.bookkeeping import meets, met_again

    for one in block.attempts:
        cost = cost_of(one.attack)
        if cost is None:
            attacked, most = met_again(replace(block, rank=rank), one), 1
        else:
            attacked, most = meets(replace(found, attempts=[*attempts, one]), len(attempts), one), cost.most
        rank_ = {name: np.zeros_like(block.y) for name in one.rank}
        attempts.append(replace(one, attacked=attacked, queries=np.where(attacked, most, 0), rank=rank_))
    winners = block.winners["fp32"]
    none = np.zeros_like(winners.fooled)
    empty = replace(
        winners, fooled=none, survived=none, moved=winners.moved * 0, rows=winners.rows[:0],
        clean=winners.clean[:0], x_adv=winners.x_adv[:0],
    )  # fmt: skip
    clean, _, least, aimed = block.answers["fp32"].margins
    wrong = np.where(rank["fp32"] > 0, clean, -np.inf)
    answers = {"fp32": replace(block.answers["fp32"], margins=np.stack([clean, wrong, least, aimed]))}
    return replace(found, winners={"fp32": empty}, answers=answers)


def test_a_careful_hand_is_stopped_by_the_models(run: Verification, block: Block) -> None:
    """Bookkeeping that fits together, and is not that of these models and samples."""
    shifted = replace(block, y=(block.y + 1) % 6)
    refuse(run, block, shifted, "has other true labels than the samples")
    drifted = {"fp32": block.drift["fp32"] + np.array([[0.0], [0.1], [0.0]])}
    refuse(run, block, replace(block, drift=drifted), "has another drift for fp32")
    surer = block.answers["fp32"].margins + np.array([[0.1], [0.0], [0.0], [0.0]])
    answers = {"fp32": replace(block.answers["fp32"], margins=surer)}
    refuse(run, block, replace(block, answers=answers), "has other margins of the answers of fp32")
    turned = {name: np.roll(z, 1, axis=0) for name, z in block.embeddings.items()}
    refuse(run, block, replace(block, embeddings=turned), "has other clean embeddings of")


def test_clean_labels_may_not_be_written(run: Verification, block: Block) -> None:
    """Three samples in 64 are called wrong that are right, far from any tie."""
    rank = {name: found.copy() for name, found in block.rank.items()}
    rank["reference"][:3] = 1
    refuse(run, block, replayed(block, rank), "has other clean labels for reference")


def test_inputs_that_fool_nobody_are_noticed(run: Verification, block: Block) -> None:
    found = block.winners["fp32"]
    assert len(found.rows) > 2
    quiet = replace(found, x_adv=found.clean.copy())
    moved = found.moved.copy()
    moved[found.rows] = 0
    refuse(run, block, replace(block, winners={"fp32": quiet}), "states another change of the inputs")
    quiet = replace(quiet, moved=moved)
    refuse(run, block, replace(block, winners={"fp32": quiet}), "of [0-9]+ inputs that do not fool fp32")
    other = replace(found, clean=found.clean[::-1].copy(), x_adv=found.x_adv[::-1].copy())
    refuse(run, block, replace(block, winners={"fp32": other}), "shows other clean samples|outside the ball")


def test_notes_with_other_constants_are_refused(tmp_path: Path) -> None:
    """Whoever merges derives the checks again, by the constants of this version."""
    from tiny import Linear, write_bundle

    from advcal_edge.spec import image
    from advcal_edge.verify import Shard, VerifyOptions
    from advcal_edge.verify.run import merge_shards, verify_shard

    bundle = write_bundle(tmp_path / "B", Linear.random(image(8)), ("fp32",), {}, samples=16)
    options = VerifyOptions(engine="fp32", reference="onnx", samples=16, sources="none")
    done = verify_shard(bundle, Shard.parse("1/1"), options, state=tmp_path / "S")
    state = State(done.state)
    note = state.note("fp32")
    assert note is not None
    less = copy.deepcopy(note)
    less["curve"]["points"] = [less["curve"]["points"][0], less["curve"]["points"][-1]]
    few = copy.deepcopy(note)
    few["checks"]["losses_agree"] = {"gained": 0, "lost": 0, "samples": 1, "what": "nothing"}
    for forged, words in ((less, "points` is a list of 2"), (few, r"losses_agree\.samples` is 1")):
        state.write("fp32", forged)
        with pytest.raises(BundleError, match=words):
            merge_shards(bundle, state=tmp_path / "S")
    state.write("fp32", note)
    assert len(merge_shards(bundle, state=tmp_path / "S")) == 1
