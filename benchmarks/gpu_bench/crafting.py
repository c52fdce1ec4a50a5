"""Samples that PGD crafts in a second: the product's own attack as training calls it, a trunk run in four ways."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from advcal_edge.attacks import PGD
from advcal_edge.attacks.pgd import random_start
from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.centers import Centers
from advcal_edge.errors import EngineError
from advcal_edge.threat import ThreatModel
from gpu_bench.clock import Clock
from gpu_bench.device import find_device, set_tf32
from gpu_bench.rows import Cell, Row, Spread, first_line
from gpu_bench.settings import Settings
from gpu_bench.trunks import Autocast, config, cosine, inputs, spec, trunk, typed

PART = "crafting"
EAGER, COMPILED, GRAPHED = "PGD", "PGD, compiled", "PGD, compiled, CUDA graphs"
START = "random start of PGD"
CLASSES = 10


def cells(settings: Settings) -> list[Cell]:
    """Plain float32, then bfloat16 faster and faster, and what of it is spent before the first step."""
    ways = [(EAGER, "fp32"), (EAGER, "bf16"), (COMPILED, "bf16"), (GRAPHED, "bf16")]
    chosen = [(START, ""), *(way for way in ways if way[1] in settings.precisions)]
    return [
        Cell(PART, m, name, precision, settings.craft_batch) for m in settings.modalities for name, precision in chosen
    ]


def measure(cell: Cell, settings: Settings) -> Row:
    """Samples a second, everything that an attack does included."""
    set_tf32(False)
    device = find_device()
    if cell.backend == GRAPHED and device.type != "cuda":
        raise EngineError("CUDA graphs need a CUDA device")
    about = spec(cell.modality)
    threat = ThreatModel("linf", 4 / 255, about.bounds)
    x, rng = inputs(cell.modality, cell.batch), np.random.default_rng(0)
    clock = Clock(device, settings.seconds, own_stream=False)  # the attack waits for the device on its own account
    if cell.backend == START:
        clock.warm_up(lambda: random_start(rng, x, threat))
        milliseconds = clock.latency(lambda: random_start(rng, x, threat))
        return Row(cell, "samples/s", Spread.of([1000 * cell.batch / one for one in milliseconds]))
    started = perf_counter()
    module, how = make(cell, settings)
    runner = TorchRunner(module, about)
    found = slope(runner, x)
    prepared = perf_counter() - started
    attack = PGD(steps=settings.craft_steps, select="last")
    model = runner.attacked(centers(config(cell.modality, settings.encoder).embedding_dim))
    y = runner.place(np.arange(cell.batch) % CLASSES)
    clock.warm_up(lambda: attack.propose(model, x, y, threat, rng))
    milliseconds = clock.latency(lambda: attack.propose(model, x, y, threat, rng))
    figures = {
        "steps": attack.steps,
        "cosine": cosine(found, expected(settings, cell.modality)),
        "device": device.type,
        "prepare_seconds": prepared,
        "note": how,
    }
    return Row(cell, "samples/s", Spread.of([1000 * cell.batch / one for one in milliseconds]), figures=figures)


def make(cell: Cell, settings: Settings) -> tuple[nn.Module, str]:
    """The module of one way, and how its graphs were made."""
    if cell.precision == "fp32":
        return typed(cell.modality, settings.encoder, "fp32"), ""
    module: nn.Module = AdaptedModule(Autocast(copy.deepcopy(trunk(cell.modality, settings.encoder)))).to(find_device())
    if cell.backend == EAGER:
        return module, "autocast"
    x = inputs(cell.modality, cell.batch)
    if cell.backend == COMPILED:
        return compile_module(module), "autocast"
    try:
        compiled = compile_module(module)
        slope(TorchRunner(compiled, spec(cell.modality)), x)  # compiles, which a capture must not meet
        return Graphed(compiled, x), "autocast, make_graphed_callables"
    except Exception as error:  # whatever capture does not like; the other way captures less and may do
        kept = compile_module(module, "reduce-overhead")
        return kept, f"autocast, reduce-overhead; make_graphed_callables: {type(error).__name__}: {first_line(error)}"


def compile_module(module: nn.Module, mode: str | None = None) -> nn.Module:
    """A module compiled for one batch size, whose backward pass may be repeated."""
    torch._dynamo.reset()
    # pullbacks keep their graph, and a compiled backward pass that frees what it has read refuses to run then
    torch._functorch.config.donated_buffer = False
    return cast(nn.Module, torch.compile(module, dynamic=False, mode=mode))


class Graphed(nn.Module):
    """A module with forward and backward pass in CUDA graphs, for one shape of x."""

    def __init__(self, module: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.module = module
        sample = x.clone().requires_grad_()
        self.replay = cast(Callable[..., Tensor], torch.cuda.make_graphed_callables(lambda x: module(x), (sample,)))

    def forward(self, x: Tensor) -> Tensor:
        return self.replay(x)


def centers(dim: int) -> Centers:
    """Random directions."""
    vectors = np.random.default_rng(1).standard_normal((CLASSES, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Centers(tuple(map(str, range(CLASSES))), vectors, 0.1, "random")


def slope(runner: TorchRunner, x: Tensor) -> Tensor:
    """The gradient in x of one embedding coordinate and another, to compare ways with each other."""
    z, pullback = runner.vjp(x)
    direction = torch.zeros_like(z)
    direction[:, 0], direction[:, 1] = 1.0, -1.0
    found: Tensor = pullback(direction)
    return found.clone()


@lru_cache(maxsize=1)
def expected(settings: Settings, modality: str) -> Tensor:
    """The float32 gradient, on the CPU."""
    runner = TorchRunner(typed(modality, settings.encoder, "fp32"), spec(modality))
    return slope(runner, inputs(modality, settings.craft_batch)).cpu()


def share_of_peak(rate: float, steps: int, both: int, peak: float) -> float:
    """Share of `peak` TFLOP/s that `rate` samples a second of `steps` steps of `both` operations make use of."""
    return rate * steps * both / (peak * 1e12)
