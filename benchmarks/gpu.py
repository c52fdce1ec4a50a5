"""How near a GPU is used to what it can do: `python benchmarks/gpu.py`, in ten minutes at most.

Measures on the first CUDA device, or on the processor where there is none:

- its roofline: the fastest product of large matrices in each type (float32 without TF32, and TF32 for itself), and the
  bandwidth of a large copy;
- the latency and throughput of ImageBind's thermal and audio trunks, at their true sizes with random weights, in torch
  (eager, compiled, compiled in a CUDA graph), ONNX Runtime, TensorRT and TensorRT-RTX, against the bound that the
  roofline sets: max(operations / matrix peak, bytes / bandwidth), the bytes being weights, input and embedding;
- samples a second that PGD crafts through these trunks, with the operations of forward and backward pass as a share of
  the matrix peak;
- steps a second of the training loop of `calibrate`, with its defaults, on ImageBind's thermal trunk and LanguageBind's
  image tower, in bfloat16, in float32, and compiled; next to each a plain loop in torch that does the same, eager and
  without parts; the operations of a step, crafting included, as a share of the matrix peak; the most memory;
- the seconds of `verify` for the fp16 engine of a small bindlite bundle.

Prints one table and writes `benchmarks/results/gpu-DEVICE.json` (`--out`). Medians with distribution-free 95 %
intervals. A latency is that of a single call on an idle device whose input lies there already, timed by CUDA events for
torch and by the wall clock for other runtimes; plans also bring the embedding to the host. `samples/s` of torch is that
of calls in a row. In torch fp16 and bf16 are whole trunks in that type; graphs keep in fp32 what `export` keeps.
`cosine` is the smallest to the float32 trunk's embedding, in crafting to its gradient; in calibrating that of the
gradient of what is trained to the plain loop's in float32. `x peer` is the time of a step of the plain loop over that
of its neighbour in `calibrate`. `GiB` is what torch allocates at most, `expected` what `calibrate` reckons with. What
is missing or fails has its reason in its row. Each group of rows runs in a process of its own, with a part of the time:
a crash costs no others.

On a GPU: torch with CUDA, `pip install 'advcal-edge[gpu,export]'` in an environment without plain onnxruntime, a C++
compiler for `torch.compile`, TensorRT where wanted; lock the clocks first (`nvidia-smi -lgc`), or accept what the
intervals say. `--encoder tiny` tries everything out on a processor.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from gpu_bench.device import describe, find_device, slug
from gpu_bench.processes import run_all, run_group
from gpu_bench.settings import Settings, parse
from gpu_bench.summary import draw, goals, judge
from gpu_bench.trunks import cost

from advcal_edge.errors import AdvcalError
from advcal_edge.storage import write_atomic

CHILD = "--group"
RESERVE = 5.0  # seconds kept back for what comes after the last group


def main(argv: Sequence[str]) -> None:
    """Run every group, judge, print and write."""
    started = monotonic()
    if CHILD in argv:
        own = argv.index(CHILD)
        workshop, name, out = argv[own + 1 : own + 4]
        run_group(name, parse("", list(argv[:own]), Path(workshop)), Path(out))
        return
    with TemporaryDirectory(prefix="advcal-edge.") as folder:
        measure(parse(__doc__ or "", list(argv), Path(folder)), argv, started)


def measure(settings: Settings, argv: Sequence[str], started: float) -> None:
    """Everything but the processes of the groups."""
    device = describe(find_device())
    versions = {"torch": device["torch"], "CUDA": device.get("cuda"), "driver": device.get("driver_version")}
    print(", ".join([device["device"], *(f"{name} {version}" for name, version in versions.items() if version)]))
    costs = {modality: cost(modality, settings.encoder) for modality in settings.modalities}
    for modality, one in costs.items():
        print(
            f"{settings.encoder} {modality}: {one.forward / 1e9:.3g} GFLOP forward, {one.both / 1e9:.3g} with the"
            f" input's gradient, {one.parameters / 1e6:.3g} M parameters",
            flush=True,
        )
    command = [str(Path(__file__)), *argv, CHILD, str(settings.workshop)]
    deadline = started + 60 * settings.minutes - RESERVE
    found, seconds = run_all(settings, command, deadline, lambda text: print(text, file=sys.stderr, flush=True))
    rows = judge(found, costs)
    print("\n" + draw(rows) + "\n", *goals(rows), sep="\n")
    total = monotonic() - started
    result = {
        "device": device,
        "settings": settings.to_json(),
        "costs": {modality: one.to_json() for modality, one in costs.items()},
        "rows": [row.to_json() for row in rows],
        "seconds": {**seconds, "total": total},
    }
    name = f"gpu-{slug(device['device'])}{'' if settings.encoder == 'imagebind' else '-tiny'}.json"
    out = settings.out or Path(__file__).parent / "results" / name
    try:
        write_atomic(out, (json.dumps(result, indent=2) + "\n").encode())
    except AdvcalError as error:
        raise SystemExit(error.message) from error
    print(f"{out}, {total:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
