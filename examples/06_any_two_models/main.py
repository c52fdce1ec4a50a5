"""Compare two quantised versions of a classifier with the original, under attack and without a bundle."""

import contextlib
import io
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from classifier import SIZE, Classifier
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from advcal_edge.calibrate.data.builtin import fashion_mnist
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.cli import main as advcal_edge

SAMPLES = 400  # with fewer than 189 not even a model without flips could pass


def train(samples: Samples, names: list[str]) -> Classifier:
    """Stand-in for your own model; logit k is the k-th name."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Classifier()
    x = torch.from_numpy(np.stack(samples.frames)).float()[:, None].expand(-1, 3, -1, -1) / 255
    y = torch.tensor([names.index(samples.names[label]) for label in samples.labels])
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(5):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.eval()


def export(model: Classifier, path: Path) -> None:
    """The original as ONNX: input `x`, output `z`, a free batch axis."""
    batch = {"x": {0: torch.export.Dim("n")}}
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            model,
            (torch.zeros(2, 3, SIZE, SIZE),),
            input_names=["x"],
            output_names=["z"],
            dynamic_shapes=batch,
            dynamo=True,
        )
    program.save(path)


def coarsen(source: Path, target: Path, levels: int) -> None:
    """Round each weight matrix to a few levels, as a careless conversion does."""
    graph = onnx.load(source)
    for tensor in graph.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.ndim == 2:
            step = np.abs(weights).max() / levels
            tensor.CopyFrom(numpy_helper.from_array((np.round(weights / step) * step).astype(np.float32), tensor.name))
    onnx.save(graph, target)


def write_frames(folder: Path, samples: Samples) -> None:
    """Stand-in for your own recording, a folder for each class."""
    for row in range(SAMPLES):
        place = folder / samples.names[samples.labels[row]]
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{row}.png"), samples.frames[row])


def run(*arguments: str) -> int:
    """One command; 1 is a verdict that is no pass, and not an error."""
    print("$ advcal-edge", *arguments, flush=True)
    code = advcal_edge(arguments)
    if code > 1:
        sys.exit(code)
    return code


def main(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent))  # on the command line: PYTHONPATH=examples/06_any_two_models
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(fashion_mnist("train").names)
    model = train(fashion_mnist("train"), names)
    write_frames(folder / "frames", fashion_mnist("test"))
    weights, original = folder / "weights.pt", folder / "original.onnx"
    torch.save(model.state_dict(), weights)
    export(model, original)
    quantize_dynamic(original, folder / "int8.onnx", weight_type=QuantType.QInt8)
    coarsen(original, folder / "levels.onnx", 3)
    common = ("--data", str(folder / "frames"), "--kind", "classifier")
    torch_module = ("--reference", "classifier:original", "--weights", str(weights))
    kept = ("--out", str(folder / "comparison"))
    for candidate in ("int8", "levels"):
        code = run("verify", "--engine", str(folder / f"{candidate}.onnx"), *torch_module, *common, *kept)
        print(f"{candidate}: exit code {code}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
