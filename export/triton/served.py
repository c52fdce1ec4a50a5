"""What is served: one engine of a bundle, whether Triton can run it, in which batches, and what vouches for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from advcal_edge.bundle import Bundle
from advcal_edge.commands import command
from advcal_edge.errors import EngineError
from advcal_edge.export.target import BuildOptions
from advcal_edge.runtime.abstention import Abstention
from advcal_edge.runtime.embedder import Embedder
from advcal_edge.runtime.engine import choose_engine, listed_metadata, listed_name, read_listed
from advcal_edge.runtime.engine_file import EngineFile, is_plan
from advcal_edge.runtime.metadata import EngineMetadata
from advcal_edge.runtime.raw_inputs import RAW_INPUTS
from advcal_edge.runtime.triton_model import PREFIX, rule_text
from advcal_edge.runtime.verified import find_verified
from advcal_edge.runtime.weights import GRAPH
from advcal_edge.spec import MODALITIES, Modality

TOP = 3
"""Labels of an answer, if the bundle has as many; as in `Embedder.match`."""
CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """An engine of a bundle as Triton will run it."""

    name: str
    """Its name in the bundle."""
    file: EngineFile
    modality: Modality
    precision: str
    dim: int
    labels: int
    identity: str
    """Hash of the bundle as it was exported."""
    verified_on: str | None
    """Provider of the passing report, or `plan`; None without one."""
    rule: Abstention | None
    """By which an answer is sure; None without one in the passing report."""
    batches: tuple[int, int]
    """The batch that is usual, and the largest."""

    @property
    def plan(self) -> bool:
        """Is it a TensorRT plan?"""
        return is_plan(self.file.path)

    @property
    def on_gpu(self) -> bool:
        """Does it run on a GPU? A graph only where it was verified there."""
        return self.plan or self.verified_on not in (None, CPU)

    @property
    def parameters(self) -> Mapping[str, str]:
        """What the configurations state, and what the server compares before it answers."""
        about = {
            "engine": self.name,
            "sha256": self.file.sha256,
            "bundle": self.identity,
            "verdict": "none" if self.verified_on is None else "pass",
            "verified_on": self.verified_on or "nothing",
            "abstention": rule_text(self.rule),
            "precision": self.precision,
            "modality": self.modality.name,
            "top": str(self.top),
        }
        return {f"{PREFIX}{name}": value for name, value in about.items()}

    @property
    def top(self) -> int:
        """Number of labels in an answer."""
        return min(TOP, self.labels)


def find_served(bundle: Bundle, engine: str) -> Served:
    """The engine `engine` of a bundle (`auto`, a precision, or a name), read once and compared with the manifest.

    A graph is opened and tried here. A plan is not: it runs on its own device only, and its metadata tell its batches.

    Raises:
        BundleError: a file of the bundle was changed, or it was not calibrated.
        EngineError: no such engine, or one that Triton cannot serve.
    """
    bundle.require_calibration("serve")
    path = choose_engine(bundle, engine)
    name = listed_name(bundle, path)
    if name is None:
        raise EngineError(
            f"engine `{path}` is no file of `{bundle.path}`; expected an engine that the bundle lists, with its hash",
            hint=f"make one: `{command('export', bundle.path)}`",
        )
    modality, file = bundle.modality, read_listed(bundle, name)
    if modality.name not in MODALITIES or modality.preprocess not in RAW_INPUTS:
        raise EngineError(f"the bundle's modality is `{modality.name}`; expected one of {', '.join(MODALITIES)}")
    report = find_verified(bundle, file.sha256)
    seen = None if report is None else report.provider or "plan"
    found = None if report is None else report.abstention
    rule = None if found is None else found.covering(modality)
    if is_plan(path):
        precision, batches = check_plan(bundle, name)
    elif path.suffix == GRAPH:
        precision, batches = check_graph(bundle, name), BuildOptions().batch[1:]
    else:
        raise EngineError(
            f"`{path}` is neither an ONNX graph nor a TensorRT plan; expected an engine with one of Triton's backends"
            " `onnxruntime` and `tensorrt`",
            hint=f"`{command('export', bundle.path, '--triton', 'DIR', '--engine', 'fp32')}`",
        )
    centers = bundle.centers()
    return Served(
        name, file, modality, precision, centers.dim, len(centers.labels), bundle.identity(), seen, rule, batches
    )


def check_graph(bundle: Bundle, name: str) -> str:
    """Open and try a graph, which must be `x` -> `z` as it is; its precision.

    Raises:
        EngineError: it does not run, or runs only behind a bridge, which Triton's backend lacks.
    """
    runner = Embedder.load(bundle.path, name).runner
    if runner.backend.bridged:
        raise EngineError(
            f"`{name}` is not `x` -> `z` as declared: {'; '.join(runner.backend.bridged)}. Triton runs it as it is",
            hint=f"serve an engine that this bundle was exported to: `{command('export', bundle.path)}`",
        )
    return runner.precision


def check_plan(bundle: Bundle, name: str) -> tuple[str, tuple[int, int]]:
    """Precision of a listed plan, and its usual and largest batch, from its metadata.

    Raises:
        EngineError: without metadata, backward, of another product, with code inside, or not for single frames.
    """
    again = f"build it again: `{command('export', bundle.path, '--trt')}`"
    path, metadata = bundle.path / name, listed_metadata(bundle, name)
    if metadata is None:
        raise EngineError(f"plan `{path}` has no metadata beside it; expected its batches there", hint=again)
    if metadata.kind != "forward":
        raise EngineError(f"plan `{path}` is the backward pass; expected a forward plan", hint="serve a forward plan")
    if metadata.product != "tensorrt":
        raise EngineError(
            f"plan `{path}` was built by TensorRT-RTX; Triton's backend runs plans of TensorRT alone", hint=again
        )
    if metadata.version_compatible:
        raise EngineError(
            f"plan `{path}` is version compatible, so it holds code that runs when it is loaded; expected one without",
            hint=again,
        )
    return metadata.precision, plan_batches(metadata, path, again)


def plan_batches(metadata: EngineMetadata, path: Path, again: str) -> tuple[int, int]:
    """The usual and the largest batch of a plan's profile.

    Raises:
        EngineError: no profile of `x`, or one that begins above one sample.
    """
    shapes = metadata.profiles.get("x", ())
    if len(shapes) != 3 or not all(shapes):
        raise EngineError(f"the metadata of `{path}` have no profile of the input `x`", hint=again)
    smallest, usual, largest = (shape[0] for shape in shapes)
    if smallest != 1 or not 1 <= usual <= largest:
        raise EngineError(
            f"plan `{path}` takes batches of {smallest} to {largest}; expected 1 and more, since clients send single"
            " frames",
            hint=f"`{command('export', bundle_of(path), '--trt', '--batch', f'1,{max(usual, 1)},{max(largest, 1)}')}`",
        )
    return usual, largest


def bundle_of(plan: Path) -> Path:
    """The bundle in which a listed plan lies."""
    return plan.parent.parent
