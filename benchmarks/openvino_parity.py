"""Which parity OpenVINO engines reach in each precision: `python benchmarks/openvino_parity.py B...`, in some minutes.

Converts the graphs of calibrated bundles with OpenVINO, and runs `verify` on each result as on any engine: the fp32
graph as it is, with its weights rounded to fp16 as `ovc` does by default, and with bf16 arithmetic; the fp16 graph; the
int8 graph; and, as a peer, the same int8 graph in ONNX Runtime. The bundles are not changed.

An engine in a precision that this CPU does not have is reported as refused, with the reason. Prints a table and writes
`benchmarks/results/openvino-MACHINE.json` (`--out`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from gpu_bench.device import slug

from advcal_edge import VerifyOptions, verify
from advcal_edge.bundle import Bundle
from advcal_edge.errors import EngineError
from advcal_edge.precision import PRECISIONS
from advcal_edge.provenance import environment
from advcal_edge.report.table import table
from advcal_edge.runtime.backends.ir_check import HINT, OPTIONS
from advcal_edge.runtime.backends.openvino import import_openvino, int8_arithmetic
from advcal_edge.storage import write_atomic

HEADER = ("modality", "engine", "verdict", "clean", "worst case", "reference", "drop, points", "cosine min", "failed")


@dataclass(frozen=True, slots=True)
class Case:
    """A graph of the bundle, and what becomes of it."""

    name: str
    graph: str
    """The precision of the graph."""
    compress: bool = False
    execution: str = "f32"
    convert: bool = True
    """To an IR; else the graph runs in ONNX Runtime."""


CASES = (
    Case("int8", "int8"),
    Case("int8 in ONNX Runtime", "int8", convert=False),
    Case("fp32, weights fp16", "fp32", compress=True),
    Case("fp32, computed in bf16", "fp32", execution="bf16"),
    Case("fp16", "fp16"),
    Case("fp32", "fp32"),
)


def main(argv: Sequence[str]) -> None:
    """Verify, print and write."""
    args = parse(argv)
    machine, openvino = environment(), import_openvino()
    rows: list[dict[str, Any]] = []
    result = {
        "environment": machine,
        "openvino": openvino.get_version(),
        "cpu": {
            "capabilities": list(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
            "int8 products": int8_arithmetic(),
        },
        "settings": {"attacks": args.attacks, "samples": args.samples},
        "rows": rows,
    }
    out = args.out or Path(__file__).parent / "results" / f"openvino-{slug(machine['processor'])}.json"
    for source in args.bundles:
        for case in CASES:
            if case.name in args.cases and Bundle.open(source).has(PRECISIONS[case.graph].graph):
                rows.append(measure(source, case, args.attacks, args.samples))
                write_atomic(out, (json.dumps(result, indent=2) + "\n").encode())  # minutes apart: keep what there is
                print(" ".join(cells(rows[-1])), file=sys.stderr, flush=True)
    print(f"{machine['processor']}, openvino {openvino.get_version()}, {args.attacks}, {args.samples} samples\n")
    print(f"{table(HEADER, [cells(row) for row in rows])}\n\n{out}")


def measure(source: Path, case: Case, attacks: str, samples: int) -> dict[str, Any]:
    """Verify one engine of a copy of the bundle."""
    started = monotonic()
    with TemporaryDirectory(prefix="advcal-edge.") as folder:
        bundle = Bundle.open(shutil.copytree(source, Path(folder, source.name)))
        about = {"modality": bundle.modality.name, **asdict(case)}
        try:
            engine = convert(bundle, case, Path(folder)) if case.convert else case.graph
            (report,) = verify(bundle, VerifyOptions(engine=str(engine), attacks=attacks, samples=samples))
        except EngineError as error:
            return {**about, "refused": error.message.replace(f"{folder}/", "")}
        found = report.to_json()
    return {**about, **figures(found), "seconds": round(monotonic() - started, 1)}


def convert(bundle: Bundle, case: Case, folder: Path) -> Path:
    """Write the IR of a case."""
    openvino = import_openvino()
    model = openvino.Core().read_model(bundle.file(PRECISIONS[case.graph].graph))
    if case.execution != "f32":
        model.set_rt_info(case.execution, [OPTIONS, HINT])
    path = folder / "engine.xml"
    openvino.save_model(model, path, compress_to_fp16=case.compress)
    return path


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a report says about parity."""
    derived, kept = report["derived"], ("reference", "engine", "drop", "interval", "only_reference", "only_engine")
    return {
        "fingerprint": report["measured"]["engine"]["fingerprint"],
        "verdict": derived["verdict"],
        "reasons": derived["reasons"],
        "samples": derived["samples"],
        "comparisons": {
            one["name"]: {key: one[key] for key in kept} for one in derived["comparisons"] if one["decides"]
        },
        "cosine_min": derived["drift"]["cosine_min"],
        "failed": [check["name"] for check in derived["checks"] if check["status"] == "fail"],
    }


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    if "refused" in row:
        return (row["modality"], row["name"], "refused", "", "", "", "", "", row["refused"])
    clean, worst = row["comparisons"]["clean"], row["comparisons"]["worst case"]
    low, high = (100 * bound for bound in worst["interval"])
    return (
        row["modality"],
        row["name"],
        row["verdict"],
        f"{100 * clean['engine']['accuracy']:.1f}",
        f"{100 * worst['engine']['accuracy']:.1f}",
        f"{100 * worst['reference']['accuracy']:.1f}",
        f"{100 * worst['drop']:.1f} [{low:.1f}, {high:.1f}]",
        f"{row['cosine_min']:.5f}",
        ", ".join(row["failed"]) or "none",
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("bundles", nargs="+", type=Path, help="calibrated and exported, like `bundles/thermal`")
    parser.add_argument("--samples", type=int, default=500, help="held-out samples of each; default 500")
    parser.add_argument("--attacks", default="quick", help="budget of `verify`; default quick")
    parser.add_argument("--cases", nargs="+", choices=names, default=names, metavar="CASE", help=f"of {names}")
    parser.add_argument("--out", type=Path, help="another place for the JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
