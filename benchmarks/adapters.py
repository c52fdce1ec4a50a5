"""Which adapter withstands what: `python benchmarks/adapters.py --modality thermal`.

Calibrates the embedded encoder once for each variant, with the defaults of `advcal-edge calibrate` for all that the
variant leaves open, prints one table and writes `benchmarks/results/adapters-MODALITY.json`. All variants are measured
on the same held-out samples with the same attacks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from advcal_edge.calibrate.config import CalibrateConfig
from advcal_edge.calibrate.evaluate import Row
from advcal_edge.calibrate.run import CalibrationResult, calibrate
from advcal_edge.config import Layer, parse_settings, resolve
from advcal_edge.provenance import environment
from advcal_edge.report.table import percent, percent_interval, table
from advcal_edge.storage import write_atomic

BARE = ["adapter.rank=1", "adapter.alpha=2", "adapter.norms=false", "adapter.stem=false"]
VARIANTS: dict[str, list[str]] = {
    "lora adaptive ce": ["adapter.kind=lora"],
    "head static ce": ["adapter.kind=head", "craft.kind=static"],
    "head adaptive ce": ["adapter.kind=head"],
    "lora adaptive l2": ["adapter.kind=lora", "objective.kind=l2"],
    "lora adaptive infonce": ["adapter.kind=lora", "objective.kind=infonce"],
    "lora adaptive ce + consistency": ["adapter.kind=lora", "objective.consistency=1"],
    "head+lora adaptive ce": ["adapter.kind=head+lora", "adapter.head_rank=4", "train.head_learning_rate=1e-2"],
    "lora rank 1, linear maps only": ["adapter.kind=lora", *BARE],
    "lora static ce": ["adapter.kind=lora", "craft.kind=static"],
    "identity": ["adapter.kind=identity"],
}
COLUMNS = ("clean", "static", "pgd", "apgd", "square", "worst")


def run(modality: str, settings: list[str], out: Path) -> CalibrationResult:
    """One calibration."""
    layers = [Layer("benchmark", {"modality": modality, "out": str(out)}), parse_settings(settings)]
    return calibrate(resolve(CalibrateConfig, layers))


def line(name: str, row: Row, fraction: float, seconds: float) -> list[str]:
    """One row of the table."""
    worst = row.interval("worst")
    figures = [percent(row.accuracy(column)) for column in COLUMNS]
    return [name, *figures, percent_interval(worst.low, worst.high), percent(fraction), f"{seconds:.0f}"]


def main() -> None:
    """All variants of one modality."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modality", choices=["image", "thermal"], required=True)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings for all variants")
    parser.add_argument("--out", type=Path, help="another place for the JSON")
    args = parser.parse_args()

    out = args.out or Path(__file__).parent / "results" / f"adapters-{args.modality}.json"
    lines: list[list[str]] = []
    found: dict[str, Any] = {}
    budgets: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only:
            result = run(args.modality, VARIANTS[name] + args.set, Path(folder) / "bundle")
            metrics = result.table.to_json()
            if not lines:
                lines.append(line("frozen encoder", result.table.before, 0.0, 0.0))
                budgets = {key: metrics[key] for key in ("threat", "n", "budgets", "before")}
            lines.append(line(name, result.table.after, result.trainable_fraction, result.seconds["train"]))
            found[name] = {
                "settings": VARIANTS[name],
                "trainable_fraction": result.trainable_fraction,
                "seconds": dict(result.seconds),
                "after": metrics["after"],
            }
            print(table(["", *COLUMNS, "95 %", "trained %", "train s"], lines[-1:]), flush=True)
            record = {**budgets, "settings": args.set, "variants": found, "environment": environment()}
            write_atomic(out, (json.dumps(record, indent=2) + "\n").encode())  # after each: the whole takes a while
    print(f"\naccuracy in percent, {args.modality}, n = {budgets['n']}\n")
    print(table(["", *COLUMNS, "worst, 95 %", "trained %", "train s"], lines))


if __name__ == "__main__":
    main()
