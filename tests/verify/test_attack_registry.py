"""An attack is registered beside its definition: that alone brings it into budgets, runs, reports and audits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_api_compat import array_namespace
from tiny import Linear, write_bundle

from advcal_edge.attacks import (
    APGD,
    PGD,
    PLANS,
    Attack,
    AttackedModel,
    Proposal,
    RayS,
    Square,
    TargetedAPGD,
    planned,
    plans,
)
from advcal_edge.attacks.base import to_numpy
from advcal_edge.cli import main
from advcal_edge.spec import image
from advcal_edge.threat import Array, ThreatModel
from advcal_edge.verify import BUDGETS


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Forget what a test has registered."""
    names = {plan.name for plan in plans()}
    yield
    for name in PLANS.keys() - names:
        del PLANS[name]


@dataclass(frozen=True)
class Brighter:
    """All values up by the radius."""

    tries: int = 1

    def propose(
        self, model: AttackedModel, x: Array, y: Array, threat: ThreatModel, rng: np.random.Generator
    ) -> Proposal:
        shape = array_namespace(x).ones_like(x)
        return Proposal(x + threat.radius * shape, np.full(len(to_numpy(y)), self.tries, np.int64))


def report_of(bundle: Path) -> tuple[Path, dict[str, Any]]:
    (path,) = bundle.glob("reports/*/report.json")
    return path, json.loads(path.read_text())


def test_a_new_attack_runs_on_either_side_and_is_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @planned("Brighter", route="black box", order=20, summary="Brighter")
    def plan_brighter() -> list[Attack]:
        return [Brighter()]

    bundle = write_bundle(tmp_path / "B", Linear.random(image(4)), ("fp32",), {}, samples=16, gradient=True).path
    assert main(["verify", str(bundle), "--engine", "fp32", "--reference", "onnx"]) in (0, 1)
    assert "Square 50, Brighter, label only 50" in capsys.readouterr().err
    path, report = report_of(bundle)
    found = [
        (item["route"], item["crafted_on"])
        for item in report["measured"]["attacks"]
        if item["attack"] == "Brighter(tries=1)"
    ]
    assert found == [("black box", "reference"), ("black box", "engine")]
    assert main(["verify", "--check", str(path)]) == 0


def test_a_number_of_the_budget_reaches_the_plan_that_asks_for_it() -> None:
    @planned("Brighter", route="gradient", order=5)
    def plan_brighter(brighter_tries: int) -> list[Attack]:
        return [Brighter(brighter_tries)] if brighter_tries else []

    quick = BUDGETS["quick"]
    assert quick.attacks("gradient", "linf", 10) == [APGD(10, 1, "ce"), APGD(10, 1, "margin")]
    more = replace(quick, numbers={**quick.numbers, "brighter_tries": 3})
    assert more.attacks("gradient", "linf", 10)[0] == Brighter(3)
    assert more.to_json()["brighter_tries"] == 3


def test_the_budgets_plan_these_attacks() -> None:
    full = BUDGETS["full"]
    assert full.first("linf") == PGD(100, select="strongest")
    losses = [APGD(100, 5, loss) for loss in ("ce", "margin", "dlr")]
    assert full.attacks("gradient", "linf", 3) == [PGD(100, restarts=4), *losses, TargetedAPGD(100, 2, "margin")]
    assert full.attacks("gradient", "linf", 10)[-1] == TargetedAPGD(100, 3, "dlr")
    assert full.attacks("difference", "linf", 3) == [PGD(100, loss="diva")]
    assert full.attacks("black box", "linf", 3) == [Square(5000)]
    assert full.attacks("label only", "linf", 3) == [RayS(5000)]
    assert full.describe("linf") == (
        "full: PGD-100 x 5, APGD-100 x 5 (ce+margin+dlr), targeted APGD-100 x 3 classes, DIVA-100, Square 5000,"
        " label only 5000"
    )


def test_an_attack_that_lacks_a_norm_is_left_out_and_named() -> None:
    @planned("Brighter", route="label only", order=20, norms=("linf",), summary="Brighter")
    def plan_brighter() -> list[Attack]:
        return [Brighter()]

    quick = BUDGETS["quick"]
    assert quick.attacks("label only", "linf", 10) == [RayS(50), Brighter()]
    assert quick.attacks("label only", "l2", 10) == [RayS(50)]
    assert quick.describe("linf").endswith(", label only 50, Brighter")
    assert quick.describe("l2").endswith(", label only 50; left out, as they do not support l2: Brighter")


def test_the_guide_has_a_row_for_every_plan() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text(encoding="utf-8")
    rows = [
        f"| {plan.name} | {plan.route} | {plan.order} | {', '.join(f'`{name}`' for name in plan.needs)}"
        f" | {', '.join(plan.norms)} |"
        for plan in plans()
    ]
    assert "\n".join(rows) in guide


def test_definitions_that_cannot_be() -> None:
    with pytest.raises(TypeError, match="`Square` is planned twice"):
        planned("Square", route="black box", order=1)(list)
    with pytest.raises(TypeError, match="the route `white box`; expected one of first, gradient"):
        planned("Brighter", route="white box", order=1)(list)  # type: ignore[arg-type]
