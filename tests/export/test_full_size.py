"""Plans of a trunk of published size, with random weights, within a minute and 4 GB each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

EXPORT = """
import sys
from pathlib import Path
import torch
from torch import nn
from torch.nn import functional as F
from advcal_edge.encoders.imagebind.encoder import MODALITIES, trunk_config
from advcal_edge.encoders.imagebind.trunk import Trunk
from advcal_edge.export.forward import export_forward
from advcal_edge.export.vjp import export_vjp
torch.manual_seed(0)
class Deployed(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.trunk = Trunk(config)
    def forward(self, x):
        return F.normalize(self.trunk(x), dim=-1)
spec, config = MODALITIES["thermal"].input, trunk_config(MODALITIES["thermal"])
module, folder = Deployed(config), Path(sys.argv[1])
export_forward(module, spec, folder / "forward.fp32.onnx")
export_vjp(module, spec, config.embedding_dim, folder / "vjp.fp32.onnx")
"""

BUILD = """
import json, re, sys
from pathlib import Path
from advcal_edge.export.target import BuildOptions
from advcal_edge.export.tensorrt.build import build_plan
from advcal_edge.runtime.backends.trt_api import find_product
card = build_plan(find_product("tensorrt_rtx"), Path(sys.argv[1]), Path(sys.argv[2]), BuildOptions(batch=(1, 1, 8)))
status = Path("/proc/self/status").read_text()  # getrusage counts what the parent had before the fork
peak = int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024
told = {"seconds": card.seconds, "bytes": card.bytes, "peak": peak, "achieved": card.achieved}
print(json.dumps(told))
"""


def run(program: str, *arguments: str) -> str:
    """A program in a process of its own, so that its memory is its own."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tensorrt_rtx_bindings")
    from advcal_edge.encoders.imagebind.encoder import MODALITIES
    from advcal_edge.export.fp16 import convert_cast
    from advcal_edge.export.int8 import convert_int8

    folder = tmp_path_factory.mktemp("imagebind")
    run(EXPORT, str(folder))
    source, spec = folder / "forward.fp32.onnx", MODALITIES["thermal"].input
    convert_cast(source, folder / "forward.fp16.onnx", "fp16")
    x = np.random.default_rng(0).uniform(*spec.bounds, (2, *spec.shape)).astype(np.float32)  # weights are random too
    convert_int8(source, folder / "forward.int8.onnx", x)
    return folder


@pytest.mark.parametrize("graph", ["forward.fp32", "forward.fp16", "forward.int8", "vjp.fp32"])
def test_builds_within_a_minute_and_4_gb(graphs: Path, graph: str) -> None:
    told = json.loads(run(BUILD, str(graphs / f"{graph}.onnx"), str(graphs / "x.plan")))
    print(graph, told)
    assert told["achieved"] == graph.split(".")[1]
    assert told["seconds"] < 60
    assert told["peak"] < 4e9
