"""`benchmarks/attack_optimality.py`: what the meter counts, the search, and how a run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attack_bench import Bench, bench_of
from attack_contests import OURS, contests
from attack_optimality import main, measure, ours, parse, settings, theirs
from attacks import passes
from optimality_bench.meter import Meter
from optimality_bench.records import Key, Records
from optimality_bench.search import Run, Search
from optimality_bench.summary import pool_best, render, verdicts
from optimality_bench.targets import Target, metered
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.attacks import APGD, PGD, Attack, Square
from advcal_edge.centers import Centers
from advcal_edge.spec import image
from advcal_edge.threat import Norm, ThreatModel

SIDE, SAMPLES, EPS = 4, 12, 0.1
LINF = ThreatModel("linf", EPS, (0.0, 1.0))


class Sides(nn.Module):
    """x (n, 3, 4, 4) -> z (n, 2) by a plane through the middle of the inputs: distances are known exactly."""

    def __init__(self) -> None:
        super().__init__()
        signs = np.tile(np.array([-1.0, 1.0], np.float32), 3 * SIDE * SIDE // 2)
        self.normal = nn.Parameter(torch.from_numpy(signs), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        height = (x - 0.5).flatten(1) @ self.normal / 100
        return F.normalize(torch.stack([height, torch.ones_like(height)], dim=1), dim=1)


def sides(norm: Norm = "linf") -> tuple[Target, Tensor]:
    """Twelve inputs at linf distances of 0.0105 to 0.1205 from the plane; the clean label of the last is wrong."""
    module = Sides()
    far = torch.linspace(0.0105, 0.1205, SAMPLES)
    along = torch.rand(SAMPLES, 3 * SIDE * SIDE // 2, generator=torch.Generator().manual_seed(0)) * 0.6 - 0.3
    x = 0.5 + (along.repeat_interleave(2, dim=1) + far[:, None] * module.normal).reshape(SAMPLES, 3, SIDE, SIDE)
    y = torch.zeros(SAMPLES, dtype=torch.int64)
    y[-1] = 1
    centers = Centers(("above", "below"), np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32), 0.1, "by hand")
    ball = LINF.with_norm(norm, x.shape[1:])
    return metered("sides", bench_of(module, image(SIDE).input, centers, x, y, ball, 5), ball, "a plane"), far


# The meter.


def test_a_meter_counts_samples_forward_and_backward() -> None:
    goal, _ = sides()
    x, y = goal.bench.x, goal.bench.y
    with goal.meter.watched(x, y, LINF) as watch:
        with torch.no_grad():
            goal.meter(x[:7])
        assert (watch.forwards, watch.backwards) == (7, 0)
        leaf = x[:4].clone().requires_grad_()
        z = goal.meter(leaf)
        assert (watch.forwards, watch.backwards) == (11, 0)  # a graph that nobody pulls back costs no backward pass
        (slope,) = torch.autograd.grad(z.sum(), leaf, retain_graph=True)
        torch.autograd.grad(z.sum(), leaf)
        assert (watch.forwards, watch.backwards) == (11, 8)
    plain = x[:4].clone().requires_grad_()
    (expected,) = torch.autograd.grad(goal.meter.module(plain).sum(), plain)
    torch.testing.assert_close(slope, expected)
    goal.meter(x)
    assert watch.forwards == 11  # nobody watches any more


@pytest.mark.parametrize("attack", [PGD(steps=5, restarts=2), APGD(steps=6), Square(queries=9)])
def test_our_attacks_cost_what_they_say(attack: Attack) -> None:
    goal, _ = sides()
    bench = goal.bench
    with goal.meter.watched(bench.x, bench.y, LINF) as watch:
        proposal = attack.propose(bench.model, bench.x, bench.y, LINF, np.random.default_rng(0))
    assert watch.forwards == proposal.queries.sum() > 0
    assert (watch.backwards > 0) == (not isinstance(attack, Square))


def test_a_meter_knows_samples_again_that_are_dropped_and_reordered() -> None:
    goal, far = sides()
    x, y, step = goal.bench.x, goal.bench.y, 0.105
    moved = x - step * goal.meter.module.normal.reshape(1, 3, SIDE, SIDE)  # fools where the plane is nearer than that
    with goal.meter.watched(x, y, LINF) as watch:
        goal.meter(moved[[8, 2, 10]])
    expected = torch.full((SAMPLES,), torch.inf)
    expected[[8, 2]] = step
    torch.testing.assert_close(watch.nearest, expected, rtol=1e-4, atol=0)
    assert far[10] > step


def test_illegal_inputs_are_not_found() -> None:
    goal, _ = sides()
    x, y = goal.bench.x[:1], goal.bench.y[:1]
    wild = x - 0.9 * goal.meter.module.normal.reshape(1, 3, SIDE, SIDE)
    with goal.meter.watched(x, y, LINF) as watch:
        assert goal.meter.labels(goal.meter(wild))[0] != y[0]
        goal.meter(wild)
    assert watch.nearest.isinf().all()


# The search.


def straight(goal: Target) -> Run:
    """The strongest attack there is on a plane: every value by the whole radius."""
    return lambda x, y, ball: x - ball.radius * goal.meter.module.normal.reshape(1, 3, SIDE, SIDE)


@pytest.mark.parametrize("rounds", [1, 3, 6])
def test_bisection_finds_each_distance(rounds: int) -> None:
    goal, far = sides()
    bench = goal.bench
    search = Search(straight(goal), goal.meter, bench.x, bench.y, LINF, bench.batch, 0)
    found = search.bisect(rounds)
    assert found.distances[-1] == 0  # its clean label is wrong
    expected = far.double().numpy()[:-1]
    reached = expected < EPS
    assert found.left == (~reached).sum() / SAMPLES
    assert np.isinf(found.distances[:-1][~reached]).all()
    over = (found.distances[:-1] - expected)[reached]
    assert (over > -1e-6).all()
    assert (over <= EPS / 2**rounds + 1e-5).all()
    assert (found.forwards, found.backwards) == (0, 0)  # it asked the model nothing; judging is not charged


def test_an_attack_that_leaves_the_ball_ends_the_search() -> None:
    goal, _ = sides()
    bench = goal.bench
    run: Run = lambda x, y, ball: x + 2 * ball.radius  # noqa: E731
    with pytest.raises(SystemExit, match="left the ball"):
        Search(run, goal.meter, bench.x, bench.y, LINF, bench.batch, 0).bisect(2)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_our_attacks_find_the_plane(norm: Norm) -> None:
    goal, far = sides(norm)
    bench, ball = goal.bench, goal.bench.threat
    found = Search(ours(APGD(steps=20), goal, 0), goal.meter, bench.x, bench.y, ball, bench.batch, 0).bisect(5)
    exact = far.double().numpy() * (1 if norm == "linf" else np.sqrt(3 * SIDE * SIDE))
    reached = exact[:-1] < ball.eps * 0.99
    assert reached.any()
    over = (found.distances[:-1] - exact[:-1])[reached]
    assert ((over > -1e-5) & (over <= ball.eps / 16)).all()


def test_the_place_inside_the_ball_does_not_count() -> None:
    goal, far = sides()
    bench = goal.bench
    half = goal.meter.module.normal.reshape(1, 3, SIDE, SIDE) / 2

    def weak(x: Tensor, y: Tensor, ball: ThreatModel) -> Tensor:
        return x - ball.radius * half

    def found(run: Run) -> Any:
        return Search(run, goal.meter, bench.x, bench.y, LINF, bench.batch, 0).bisect(6)

    # it moves half as far, so it needs twice the radius: nothing is given for an input that lies in the middle
    expected = 2 * far.double().numpy()[:-1]
    reached = expected < EPS
    over = (found(weak).distances[:-1] - expected)[reached]
    assert ((over >= -1e-6) & (over <= EPS / 64 + 1e-6)).all()


def test_an_input_that_was_asked_about_counts_though_it_is_not_returned() -> None:
    goal, _ = sides()
    bench = goal.bench
    strong = straight(goal)

    def forgetful(x: Tensor, y: Tensor, ball: ThreatModel) -> Tensor:
        goal.meter(strong(x, y, ball))
        return x

    seen, returned = (
        Search(run, goal.meter, bench.x, bench.y, LINF, bench.batch, 0).bisect(3) for run in (forgetful, strong)
    )
    np.testing.assert_array_equal(seen.distances, returned.distances)
    assert seen.left == 11 / 12 > returned.left
    assert (seen.forwards, seen.backwards) == (1, 0)


# Records, and how a run goes on.


def todo(goal: Target, *runs: tuple[str, Run]) -> list[Any]:
    contest = contests("linf", 2)["PGD-20"]
    return [(Key("PGD-20", library, 0), contest, run) for library, run in runs]


def test_a_stopped_run_loses_nothing_and_goes_on(tmp_path: Path) -> None:
    goal, _ = sides()
    versions = {OURS: "1", "torchattacks": "2", "art": "3"}

    def stopped(x: Tensor, y: Tensor, ball: ThreatModel) -> Tensor:
        raise KeyboardInterrupt

    path, still = tmp_path / "sides-linf.json", lambda x, y, ball: x
    before = Records(path, settings(goal, 4))
    with pytest.raises(KeyboardInterrupt):
        measure(
            goal, before, todo(goal, (OURS, straight(goal)), ("torchattacks", stopped), ("art", still)), versions, 4
        )
    after = Records(path, settings(goal, 4))
    assert [key.library for key in after.found] == [OURS]
    rest = [one for one in todo(goal, (OURS, stopped), ("torchattacks", straight(goal)), ("art", still))
            if after.needs(one[0], versions[one[0].library])]  # fmt: skip
    assert [key.library for key, *_ in rest] == ["torchattacks", "art"]
    measure(goal, after, rest, versions, 4)
    read = Records.read(path)
    assert [key.library for key in read.found] == [OURS, "torchattacks", "art"]
    keys = list(read.found)
    np.testing.assert_array_equal(read.distances(keys[0]), read.distances(keys[1]))
    assert not read.needs(keys[0], "1")
    assert read.needs(keys[0], "1.1")  # another version is measured again
    np.testing.assert_array_equal(pool_best(read), read.distances(keys[0]))
    (verdict,) = verdicts(read)
    assert (verdict.best_library, verdict.difference, verdict.met) == ("torchattacks", 0.0, "yes")
    assert "| PGD-20 | 1.000, " in render(read)


def test_distances_survive_the_file(tmp_path: Path) -> None:
    records, key = Records(tmp_path / "a.json", {"n": 4, "rounds": 3}), Key("PGD-20", OURS, 0)
    records.add(key, np.array([0.0, 0.05, 0.1, np.inf]), EPS, {"version": "1"})
    np.testing.assert_array_equal(Records.read(records.path).distances(key), [0.0, 0.5, 1.0, np.inf])
    assert json.loads(records.path.read_text())["records"][0]["distances"] == [0, 4, 8, None]


def test_other_settings_are_not_mixed(tmp_path: Path) -> None:
    records = Records(tmp_path / "a.json", {"n": 4, "rounds": 3})
    records.add(Key("PGD-20", OURS, 0), np.zeros(4), EPS, {"version": "1"})
    with pytest.raises(SystemExit, match=r"measured with \{'rounds': 3\}, not with \{'rounds': 5\}"):
        Records(records.path, {"n": 4, "rounds": 5})


def test_the_program_estimates_measures_once_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--models", "frozen", "--norms", "l2", "--samples", "4", "--rounds", "1", "--attacks", "PGD-20"]
    asked = [*few, "--libraries", OURS, "--out", str(tmp_path)]
    main([*asked, "--estimate"])
    assert "frozen-l2.json: 1 to measure, 0 there, at most" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    main(asked)
    written = (tmp_path / "frozen-l2.json").read_bytes()
    assert json.loads(written)["settings"]["n"] == 4
    main(asked)
    assert "frozen-l2.json: 0 to measure, 1 there" in capsys.readouterr().err
    assert (tmp_path / "frozen-l2.json").read_bytes() == written
    main([*asked, "--table"])
    assert "| PGD-20 | " in capsys.readouterr().out


def test_a_model_that_is_missing_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--models", "calibrated", "--out", str(tmp_path)])
    assert "calibrated left out, it needs `--bundle`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--models", "unknown"])


def test_another_library_runs_through_the_same_meter() -> None:
    pytest.importorskip("foolbox")
    goal, _ = sides()
    bench: Bench = goal.bench
    craft = contests("linf", 2)["PGD-20"].others["foolbox"]
    found = Search(theirs(craft, goal), goal.meter, bench.x, bench.y, LINF, bench.batch, 0).bisect(2)
    assert found.forwards >= found.backwards == 20
    assert passes(bench, PGD(steps=20), craft) > 2  # on most samples ours stops early
    assert np.isfinite(found.distances).any()
    assert isinstance(goal.meter, Meter)
