"""Cross-check of an engine: `polygraphy run` on the same file and samples, compared with our runner."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.runtime.backends import Backend
from advcal_edge.runtime.backends.onnx import CPU, EXACT_INT8
from advcal_edge.runtime.model import Runner

Floats = NDArray[np.float32]

LIMIT = 1e-3  # relative L2; the same bytes on the same device agree to 1e-6, another engine does not
SECONDS = 600
ARGUMENTS = {"graph": ["--onnxrt"], "plan": ["--trt", "--model-type=engine"]}
LOADER = "import numpy\n\n\ndef load_data():\n    yield {{'x': numpy.load({path!r}, allow_pickle=False)}}\n"
# polygraphy knows TensorRT-RTX only by the name of the metapackage
PROGRAM = (
    "import importlib.util, sys\n"
    "if importlib.util.find_spec('tensorrt_rtx') is None and importlib.util.find_spec('tensorrt_rtx_bindings'):\n"
    "    import tensorrt_rtx_bindings; sys.modules['tensorrt_rtx'] = tensorrt_rtx_bindings\n"
    "from polygraphy.tools import main\n"
    "sys.exit(main())\n"
)
# polygraphy has no option for it: without exact products int8 saturates on x86 processors without VNNI
EXACT = (
    "import onnxruntime\n"
    "plain = onnxruntime.InferenceSession\n"
    "def exact(model, sess_options=None, *rest, **others):\n"
    "    sess_options = sess_options or onnxruntime.SessionOptions()\n"
    f"    sess_options.add_session_config_entry({EXACT_INT8!r}, '1')\n"
    "    return plain(model, sess_options, *rest, **others)\n"
    "onnxruntime.InferenceSession = exact\n"
)


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """Difference between two programs on the same engine: ||a - b|| / ||b|| and the largest difference."""

    tool: str
    samples: int
    relative_l2: float
    max_abs: float

    def to_json(self) -> dict[str, Any]:
        """Plain types for a report."""
        return asdict(self)


def cross_check(runner: Runner, x: Floats) -> CrossCheck:
    """Run the file of `runner` in polygraphy on x (n, ...), and compare.

    Raises:
        DependencyError: polygraphy is not installed.
        EngineError: polygraphy cannot run the engine, or its embeddings differ from ours.
    """
    if find_spec("polygraphy") is None:
        raise DependencyError("polygraphy", extra="trt", purpose="`--cross-check`")
    if runner.backend.kind not in ARGUMENTS:
        raise EngineError(
            f"polygraphy runs ONNX graphs and plans; `{runner.path}` runs as {runner.fingerprint}",
            hint="leave out `--cross-check`",
        )
    if runner.backend.bridged:
        raise EngineError(
            f"polygraphy runs engines with `x` and `z` alone; `{runner.path}` is bridged: {runner.backend.bridged[0]}",
            hint="leave out `--cross-check`",
        )
    if runner.backend.kind == "graph" and CPU not in runner.fingerprint:
        raise EngineError(
            f"polygraphy runs graphs on the CPU here; `{runner.path}` runs as {runner.fingerprint}",
            hint="leave out `--cross-check`, or check the plan",
        )
    ours, theirs = runner(x), polygraphy_run(runner.backend, x)
    if theirs.shape != ours.shape:
        raise EngineError(f"polygraphy returned {theirs.shape} for `{runner.path}`; we {ours.shape}")
    scale = max(float(np.linalg.norm(theirs)), 1e-30)
    check = CrossCheck(
        tool=f"polygraphy {version('polygraphy')}",
        samples=len(x),
        relative_l2=float(np.linalg.norm(ours - theirs)) / scale,
        max_abs=float(np.abs(ours - theirs).max()),
    )
    if not check.relative_l2 <= LIMIT:  # NaN too
        raise EngineError(
            f"{check.tool} and this program disagree about `{runner.path}`: relative L2 {check.relative_l2:.3g} on"
            f" {len(x)} samples; expected at most {LIMIT:g}",
            hint="one of the two runs another engine than it says; do not ship it",
        )
    return check


def polygraphy_run(backend: Backend, x: Floats) -> Floats:
    """z (n, d) of an engine from `polygraphy run`, in a separate process.

    Raises:
        EngineError: the run fails.
    """
    path, metadata = backend.path, backend.metadata
    rtx = metadata is not None and metadata.product == "tensorrt_rtx"
    with tempfile.TemporaryDirectory(prefix="advcal-edge.") as folder:
        samples, loader, results = (Path(folder, name) for name in ("x.npy", "loader.py", "results.json"))
        np.save(samples, x)
        loader.write_text(LOADER.format(path=str(samples)), encoding="utf-8")
        arguments = [str(path), *ARGUMENTS[backend.kind]]
        program = EXACT + PROGRAM if backend.kind == "graph" else PROGRAM
        arguments += ["--data-loader-script", str(loader), "--save-outputs", str(results)]
        done = subprocess.run(  # our interpreter, our program, paths as arguments
            [sys.executable, "-c", program, "run", *arguments],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "POLYGRAPHY_USE_TENSORRT_RTX": "1" if rtx else "0"},
        )
        if done.returncode or not results.is_file():
            said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            message = next((line for line in said if "[E]" in line or "[!]" in line), (said or ["nothing"])[-1])
            raise EngineError(f"`polygraphy run` does not run `{path}`: {message}")
        return read_results(results)


def read_results(path: Path) -> Floats:
    """The output `z` in a results file of polygraphy."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # polygraphy prints while loading
        from polygraphy.comparator import RunResults

        ((_, iterations),) = RunResults.load(str(path)).items()
    z: Floats = np.asarray(iterations[0]["z"], np.float32)
    return z
