"""The pictures and the table of `benchmarks/architectures.py`; `test_published_towers.py` exports the towers."""

from __future__ import annotations

import json
from pathlib import Path

from architectures import draw, kept, pictures
from published_towers import ARCHITECTURES


def test_pictures_are_smooth_and_in_bounds() -> None:
    x = pictures(30, 4, seed=0)
    assert x.shape == (4, 3, 30, 30)
    assert x.min() >= 0
    assert x.max() <= 1
    assert abs(x[..., 1:15] - x[..., :14]).max() <= 0.1 + 1e-6  # inside a blob only the noise differs
    assert (pictures(30, 4, seed=1) != x).any()


def graph(seconds: float, **fidelity: object) -> dict[str, object]:
    return {"seconds": seconds, "nodes": 7, "error": None, "scatters": 0, **fidelity}


def test_table_has_a_figure_or_a_reason_in_each_cell() -> None:
    graphs = {
        "forward.fp32": graph(1.2, relative_l2=3e-7, cosine_min=1.0),
        "forward.fp16": graph(1.0, relative_l2=3e-3, cosine_min=0.99999),
        "forward.int8": {**graph(2.0), "error": "cosine_min is 0.5"},
        "vjp.fp32": graph(9.6, relative_l2=2e-6, rounding=1e-6, sign_agreement=1.0, scatters=2),
    }
    table = draw({"ResNet-50": {"graphs": graphs}, "Swin-T": {"error": "the process ended with -9"}})
    *_, resnet, swin = table.splitlines()
    assert (
        resnet
        == "| ResNet-50 | 3.0e-07 | 0.99999 | cosine_min is 0.5 | 2.0e-06 (scatters) | 1.0e-06 | 7 / 7 | 1 / 10 |"
    )
    assert swin.startswith("| Swin-T | the process ended with -9 |")


def test_rows_of_other_settings_and_with_errors_are_measured_again(tmp_path: Path) -> None:
    out, whole = tmp_path / "rows.json", {next(iter(ARCHITECTURES)): {"graphs": {"vjp.fp32": graph(1.0)}}}
    failed = {"A": {"error": "killed"}, "B": {"graphs": {"vjp.fp32": graph(1.0, error="no trace")}}}
    assert kept(out, {}) == {}
    out.write_text(json.dumps({"settings": {"blocks": 2}, "rows": whole | failed}), encoding="utf-8")
    assert kept(out, {"blocks": 2}) == whole
    assert kept(out, {"blocks": "as published"}) == {}
