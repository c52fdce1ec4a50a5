"""Reports that nobody measured: whatever is dropped, lowered or laxer than the bundle, nobody takes it for a pass."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from sample_report import document, measure
from tiny import Linear, bound, metrics, write_bundle

from advcal_edge.attacks import Route
from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import BundleError
from advcal_edge.report.derive import derive
from advcal_edge.report.implied import BudgetNumbers
from advcal_edge.runtime.verified import find_verified
from advcal_edge.spec import thermal
from advcal_edge.verify import BUDGETS
from advcal_edge.verify.audit import audit

Json = dict[str, Any]
N = 200
ENGINE = "onnx/forward.fp32.onnx"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made = write_bundle(tmp_path_factory.mktemp("forged") / "B", Linear.random(thermal(8)), ("fp32",), {}, samples=N)
    right = (
        np.array(measure(N, lost=0.0, gained=0.0, flipped=0.0, labels=made.centers().labels)["clean"]["reference"]) == 0
    )
    return made.add({}, metrics=metrics(made.threat, right))  # of a model that is right where the report says so


@pytest.fixture(scope="module")
def measured(bundle: Bundle) -> Json:
    """What an honest run on this bundle writes."""
    return bound(measure(N, lost=0.0, gained=0.0, flipped=0.0, labels=bundle.centers().labels), bundle, ENGINE)


def counts(report: Json, bundle: Bundle) -> bool:
    """Does the runtime accept a report as the verification of its engine?"""
    sha256 = bundle.manifest["files"][ENGINE]["sha256"]
    try:
        found = bundle.add({f"reports/{sha256[:8]}/report.json": json.dumps(report).encode()})
        return find_verified(found, sha256) is not None
    except BundleError:
        return False


def holds(report: Json, bundle: Bundle) -> bool:
    """Does `verify --check` find nothing wrong?"""
    try:
        return all(item.status == "ok" for item in audit(report, bundle))
    except BundleError:
        return False


def derived_again(measured: Json) -> Json:
    """The report of a forger who also computes what follows; a half that cannot be read stays as it was."""
    try:
        return document(measured)
    except (BundleError, KeyError):
        return {"schema": "advcal-edge/report/4", "measured": measured, "derived": {"verdict": "pass", "reasons": []}}


def test_an_honest_report_counts_and_holds(measured: Json, bundle: Bundle) -> None:
    report = document(measured)
    assert report["derived"]["verdict"] == "pass"
    assert counts(report, bundle)
    assert holds(report, bundle)


def attack(found: Json, route: str, side: str, name: str = "") -> Json:
    row: Json = next(
        item
        for item in found["attacks"]
        if (item["route"], item["crafted_on"]) == (route, side) and item["attack"].startswith(name)
    )
    return row


def without(found: Json, *routes: str, side: str = "engine") -> None:
    found["attacks"] = [
        item for item in found["attacks"] if not (item["route"] in routes and item["crafted_on"] == side)
    ]


def fewer(found: Json, n: int) -> None:
    """The first n samples of everything."""
    found["truth"] = found["truth"][:n]
    found["clean"] = {model: ranks[:n] for model, ranks in found["clean"].items()}
    found["drift"] = {key: values[:n] for key, values in found["drift"].items()}
    found["gallery"] = []
    for item in found["attacks"]:
        item["attacked"] = item["attacked"][:n]
        item["ranks"] = {model: ranks[:n] for model, ranks in item["ranks"].items()}
    for curve in found["curve"].values():
        for point in curve["points"]:
            point["right"] = point["right"][:n]


def nothing_attacked(found: Json) -> None:
    for item in found["attacks"]:
        item |= {"attacked": "0" * N, "queries": 0, "ranks": {model: [0] * N for model in item["ranks"]}}


def at_radius(found: Json, eps: float) -> None:
    found["threat"]["eps"] = eps
    for curve in found["curve"].values():
        for point, multiple in zip(curve["points"], (0, 0.25, 0.5, 1, 2, 4, 8), strict=False):
            point["eps"] = multiple * eps


def zero_steps(found: Json) -> None:
    found["budget"] |= dict.fromkeys(("pgd_steps", "apgd_steps", "difference_steps", "square_queries"), 0)


FORGERIES: Mapping[str, Callable[[Json], object]] = {
    "ten samples": lambda m: fewer(m, 10),
    "188 samples": lambda m: fewer(m, 188),
    "a budget without steps": zero_steps,
    "a budget of somebody's own": lambda m: m["budget"].update(name="mine"),
    "one loss": lambda m: m["budget"].update(losses=["ce"]),
    "a failed check": lambda m: m["checks"]["unit_norm"].update(value=0.5),
    "a skipped check": lambda m: m["checks"].update(eps_zero={"skipped": "no time"}),
    "a check that is gone": lambda m: m["checks"].pop("finite_differences"),
    "a distance below zero": lambda m: m["checks"]["unit_norm"].update(value=-1.0),
    "a ratio below one": lambda m: m["checks"]["gradient_norms"].update(value=0.2),
    "attacks compared on one sample": lambda m: m["checks"]["losses_agree"].update(gained=0, lost=0, samples=1),
    "nothing rounded": lambda m: m["checks"]["survives_rounding"].update(fooled=0, survived=0),
    "a negative margin": lambda m: m.update(margin=-0.02),
    "a wide margin": lambda m: m.update(margin=0.03),
    "a larger radius": lambda m: at_radius(m, 8 / 255),
    "a smaller radius": lambda m: at_radius(m, 1 / 255),
    "another norm": lambda m: m["threat"].update(norm="l2"),
    "wider bounds": lambda m: m["threat"].update(bounds=[0.0, 2.0]),
    "no gradient on the engine": lambda m: (without(m, "gradient", "difference"), m["engine"].update(gradient=None)),
    "no gradient attacks on the engine": lambda m: without(m, "gradient", "difference"),
    "no attack on the reference": lambda m: without(m, "transfer", side="reference"),
    "no black box": lambda m: without(m, "black box"),
    "no source": lambda m: without(m, "transfer", side="fp32"),
    "one attack twice": lambda m: m["attacks"].append(copy.deepcopy(attack(m, "label only", "engine"))),
    "another order": lambda m: m["attacks"].reverse(),
    "fewer steps": lambda m: attack(m, "gradient", "engine", "APGD").update(
        attack="APGD(steps=1, restarts=1, loss='ce')"
    ),
    "a setting of nobody": lambda m: attack(m, "black box", "engine").update(
        attack="Square(queries=50, share=0.001, loss='margin')"
    ),
    "nothing was attacked": nothing_attacked,
    "one sample was left out": lambda m: attack(m, "black box", "engine").update(
        attacked=attack(m, "black box", "engine")["attacked"].replace("1", "0", 1)
    ),
    "hardly any queries": lambda m: attack(m, "black box", "engine").update(queries=N),
    "no queries": lambda m: attack(m, "gradient", "engine").update(queries=0),
    "more queries than steps": lambda m: attack(m, "gradient", "engine").update(queries=10**6),
    "a curve of two points": lambda m: m["curve"]["engine"].update(
        points=[m["curve"]["engine"]["points"][0], m["curve"]["engine"]["points"][-1]]
    ),
    "a curve of another attack": lambda m: m["curve"]["engine"].update(attack="PGD(steps=1)"),
    "a curve on a few samples": lambda m: [p.update(right=p["right"][:8]) for p in m["curve"]["engine"]["points"]],
    "a curve that begins elsewhere": lambda m: m["curve"]["engine"]["points"][0].update(right="1" * 64),
    **{
        f"the {key} of another": lambda m, key=key: m["hashes"].update({key: "0" * 64})  # type: ignore[misc]
        for key in ("engine", "gradient", "bundle", "data", "centers", "environment")
    },
}
"""Changes of the measurements; whatever follows from them is computed again."""


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_measurements_count_for_nothing_and_are_found(name: str, measured: Json, bundle: Bundle) -> None:
    forged = copy.deepcopy(measured)
    FORGERIES[name](forged)
    report = derived_again(forged)
    assert not counts(report, bundle)
    assert not holds(report, bundle) or report["derived"]["verdict"] != "pass"


SIX_KEYS = ("engine", "margin", "budget", "threat", "hashes", "reference")


def test_a_report_of_a_few_keys_is_none(measured: Json, bundle: Bundle) -> None:
    few = {key: measured[key] for key in SIX_KEYS}
    assert not counts(derived_again(few), bundle)
    assert not holds(derived_again(few), bundle)
    assert not counts({"schema": "advcal-edge/report/4", "measured": measured}, bundle)


def leaves(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], object]]:
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def at(report: Json, path: tuple[Any, ...]) -> Any:
    place: Any = report
    for key in path:
        place = place[key]
    return place


FREE = {
    "context": "what the manifest says is compared by its hash",
    "gallery": "pictures",
    "environment": "the hash of it is no secret",
    "seed": "any will do",
    "seconds": "any will do",
}
"""Members of `measured` of which parts may be dropped or lowered; nothing follows from them."""


def test_without_any_part_it_is_no_report(measured: Json, bundle: Bundle) -> None:
    report = document(measured)
    paths = {path[:cut] for path, _ in leaves(report) for cut in (1, 2, 3)}
    paths = {path for path in paths if not any(isinstance(key, int) for key in path)}
    tried = 0
    for path in sorted(paths):
        if (len(path) == 3 and path[1] in FREE) or (path[0] == "derived" and len(path) == 3):
            continue
        forged = copy.deepcopy(report)
        del at(forged, path[:-1])[path[-1]]
        tried += 1
        assert not counts(forged, bundle), path
    assert tried > 60


def test_no_number_can_be_lowered(measured: Json, bundle: Bundle) -> None:
    """Neither alone nor with all that follows: it is found, or changes nothing that anybody concludes."""
    numbers = [
        (path, value)
        for path, value in leaves(measured)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and path[0] not in FREE
    ]
    single = [item for item in numbers if not any(isinstance(key, int) for key in item[0])]
    many = [item for item in numbers if item not in single and item[1]]
    chosen = np.random.default_rng(0).choice(len(many), 60, replace=False)
    honest, free = document(measured), []
    for path, value in [*single, *(many[k] for k in chosen)]:
        forged = copy.deepcopy(measured)
        at(forged, path[:-1])[path[-1]] = value - 1 if isinstance(value, int) else value - abs(value) / 2 - 1e-3
        again = derived_again(forged)
        same = again["derived"] == honest["derived"]
        assert same or not counts({**honest, "measured": forged}, bundle), path
        if counts(again, bundle):
            free.append(".".join(map(str, path)))
    assert [name for name in free if not UNCONFIRMED.match(name)] == []


UNCONFIRMED = re.compile(
    r"engine\.(bytes|census\.\w+)|truth\.\d+|drift\.\w+\.\d+|checks\.\w+\.(value|survived|steps|lost|bits|samples)"
    r"|clean\.\w+\.\d+|attacks\.\d+\.ranks\.\w+\.\d+|attacks\.\d+\.queries"
)
"""Numbers that a forger may choose, within what follows from them; only a signature or another run tells."""


def test_the_attacks_implied_are_those_that_are_registered() -> None:
    for budget in BUDGETS.values():
        for norm in ("linf", "l2"):
            for classes in (3, 4, 12):
                implied = BudgetNumbers(budget.numbers, budget.losses, classes)
                for route in get_args(Route):
                    assert implied.attacks(route) == [repr(one) for one in budget.attacks(route, norm, classes)]


def test_other_terms_can_be_asked_for(measured: Json, bundle: Bundle, tmp_path: Path) -> None:
    wide = document({**measured, "margin": 0.03})
    path = tmp_path / "report.json"
    path.write_text(json.dumps(wide))
    assert wide["derived"]["verdict"] == "pass"
    assert main(["verify", str(bundle.path), "--check", str(path)]) == 1
    assert main(["verify", str(bundle.path), "--check", str(path), "--margin", "0.03"]) == 0
    assert (
        main(["verify", str(bundle.path), "--check", str(path), "--margin", "0.03", "--per-class-margin", "0.1"]) == 1
    )


def test_a_report_still_counts_after_another_export(measured: Json, bundle: Bundle, tmp_path: Path) -> None:
    report = document(measured)
    later = Bundle.create(
        tmp_path / "B",
        {key: value for key, value in bundle.manifest.items() if key not in ("schema", "files")},
        {
            name: (bundle.path / name).read_bytes()
            for name in bundle.manifest["files"]
            if not name.startswith("reports/")
        },
    )
    assert counts(report, later)
    assert counts(report, later.add({"onnx/forward.int8.onnx": b"another graph"}))
    assert not counts(report, later.add({"calibration.npz": b"another calibration"}))


def test_what_is_derived_is_compared(measured: Json, bundle: Bundle) -> None:
    report = document(measured)
    report["derived"]["comparisons"][0]["drop"] = -0.01
    assert derive(report["measured"]) != report["derived"]
    assert not counts(report, bundle)
