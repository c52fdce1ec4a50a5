"""How long `advcal-edge verify` takes for an fp16 engine of a small bindlite bundle, through its Python functions."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from advcal_edge.bundle import Bundle
from advcal_edge.precision import PRECISIONS
from advcal_edge.verify.options import VerifyOptions
from advcal_edge.verify.outcome import make_reports
from advcal_edge.verify.run import open_run
from gpu_bench.plans import TITLES
from gpu_bench.rows import Cell, Row, Spread
from gpu_bench.settings import Settings

PART = "verify"
ONNX = "verify, ONNX Runtime"
PLANS = {product: f"verify, {title}" for product, title in TITLES.items()}
PLAN_BATCH = (1, 8, 64)


def cells(settings: Settings) -> list[Cell]:
    """The engine in each runtime."""
    return [Cell(PART, "image", name, "fp16", 0) for name in (ONNX, *PLANS.values())]


def measure(cell: Cell, settings: Settings) -> Row:
    """Seconds of a whole verification, once: it takes too long for more."""
    product = next((product for product, name in PLANS.items() if name == cell.backend), None)
    if product is not None:
        from advcal_edge.runtime.backends.trt_api import find_product

        find_product(product)  # before a bundle is made for nothing
    bundle = open_bundle(settings)
    engine = "fp16" if product is None else str(plan(product, bundle, settings.workshop))
    return verify(cell, bundle, VerifyOptions(engine=engine, samples=settings.verify_samples))


def open_bundle(settings: Settings) -> Bundle:
    """The one that was asked for, or the small one, made where it is not there yet."""
    path = settings.bundle or settings.workshop / "bundle"
    if settings.bundle is not None or path.exists():
        return Bundle.open(path)
    from advcal_edge.calibrate.config import CalibrateConfig
    from advcal_edge.calibrate.deploy import module_from_bundle
    from advcal_edge.calibrate.run import calibrate
    from advcal_edge.config import Layer, resolve
    from advcal_edge.export.graphs import export_graphs

    few = {"train": {"samples": 256, "epochs": 1}, "evaluate": {"samples": 8, "steps": 2, "queries": 5}}
    unfinished = path.with_name("unfinished")
    layers = [Layer("benchmark", {"modality": "image", "out": str(unfinished)}), Layer("benchmark", few)]
    bundle = calibrate(resolve(CalibrateConfig, layers)).bundle
    export_graphs(bundle, module_from_bundle(bundle), precisions=("fp32", "fp16"))
    unfinished.rename(path)
    return Bundle.open(path)


def plan(product: str, bundle: Bundle, workshop: Path) -> Path:
    """The bundle's fp16 graph as a plan."""
    from advcal_edge.export.tensorrt.build import BuildOptions, build_plan
    from advcal_edge.runtime.backends.trt_api import find_product

    target = workshop / f"verify.{product}.plan"
    build_plan(find_product(product), bundle.file(PRECISIONS["fp16"].graph), target, BuildOptions(batch=PLAN_BATCH))
    return target


def verify(cell: Cell, bundle: Bundle, request: VerifyOptions) -> Row:
    """Attack, question, decide; the reports are made and not kept."""
    with TemporaryDirectory() as root:
        started = perf_counter()
        with open_run(bundle, request, Path(root)) as prepared:
            prepared.run()
            (report,) = make_reports(bundle, prepared)
        seconds = perf_counter() - started
    samples, budget = report.derived["samples"], report.measured["budget"]["name"]
    figures = {
        "samples": samples,
        "budget": budget,
        "verdict": report.verdict,
        "engine": report.engine["fingerprint"],
        "reference": report.measured["reference"]["fingerprint"],
        "note": f"{report.verdict}, n = {samples}, budget {budget}",
    }
    return Row(cell, "s", Spread.of([seconds]), figures=figures)
