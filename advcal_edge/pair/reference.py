"""A reference as it is given: an ONNX graph, perhaps with a graph of its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from advcal_edge.centers import Centers
from advcal_edge.errors import EngineError
from advcal_edge.pair.options import PairOptions
from advcal_edge.pair.sensor import modality_for
from advcal_edge.precision import BACKWARD_GRAPH
from advcal_edge.runtime.backends import open_backend
from advcal_edge.runtime.engine_file import EngineFile, is_plan
from advcal_edge.runtime.model import open_runner, open_vjp
from advcal_edge.spec import Modality
from advcal_edge.verify.compared import EXACT

Floats = NDArray[np.float32]

DIFFERENCE = 0.02  # relative L2; the same model at another optimisation differs by 1e-6, another one by about 1


class Reference(Protocol):
    """The model with which others are compared."""

    @property
    def modality(self) -> Modality:
        """Its input."""
        ...

    @property
    def centers(self) -> Centers | None:
        """The centers that it brings."""
        ...

    @property
    def sees(self) -> bool:
        """Is its gradient known?"""
        ...

    def embed(self, x: Floats) -> Floats:
        """Its outputs (n, d) for x (n, ...), as they are.

        Raises:
            ConfigError, EngineError: it fails on these inputs, or its gradient is that of another model.
        """
        ...

    def sections(self) -> Mapping[str, Any]:
        """What a manifest says of it."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """What a comparison folder keeps of it."""
        ...


def open_reference(options: PairOptions) -> Reference:
    """The reference that the options name; a factory of the user's is run.

    Raises:
        ConfigError: no such encoder, or settings that its sensor does not have.
        EngineError: a graph that cannot be loaded, or is of another sensor.
        DependencyError: torch is not installed, and the reference is an encoder.
    """
    if options.is_graph:
        return GraphReference.open(options)
    from advcal_edge.pair.encoder_reference import EncoderReference  # needs torch

    return EncoderReference.open(options)


@dataclass(frozen=True, slots=True, eq=False)
class GraphReference:
    """An ONNX graph; a black box without a graph of its gradient."""

    modality: Modality
    graph: EngineFile
    gradient: EngineFile | None
    precision: str
    """From the graph's own metadata; `custom` without any."""
    centers: Centers | None = None

    @classmethod
    def open(cls, options: PairOptions) -> GraphReference:
        """Read the graph and its gradient, and find its sensor from the input that it declares.

        Raises:
            EngineError: a plan, or a graph that cannot be loaded or is of another sensor.
        """
        path = Path(options.reference)
        if is_plan(path):
            raise EngineError(
                f"`--reference {path}` is a plan; expected the graph it was built from, or an encoder",
                hint=f"compare the plan with it: `--engine {path} --reference FILE.onnx`",
            )
        graph = EngineFile.of(path)
        opened = open_backend(graph, EXACT)
        inputs = opened.inputs
        if len(inputs) != 1:
            raise EngineError(
                f"`{path}` has {len(inputs)} inputs: {', '.join(map(str, inputs))}; expected one, the sensor's"
            )
        modality = modality_for(options.modality, inputs[0], options.settings, path)
        gradient = None if options.gradient is None else EngineFile.of(options.gradient)
        return cls(modality, graph, gradient, opened.precision)

    @property
    def sees(self) -> bool:
        """Is there a graph of its gradient?"""
        return self.gradient is not None

    def embed(self, x: Floats) -> Floats:
        """Run the graph on x (n, ...), and compare the forward pass of its gradient graph.

        Raises:
            EngineError: it fails, or the gradient graph is one of another model.
        """
        raw = open_runner(self.graph, self.modality.input, EXACT)(x)
        if self.gradient is not None:
            self._check_gradient(self.gradient, x[:8], raw[:8])
        return raw

    def sections(self) -> Mapping[str, Any]:
        """The graph's place in the folder, and what each graph there is."""
        graphs = {self._place: {"precision": self.precision, "kind": "reference"}}
        if self.gradient is not None:
            graphs[BACKWARD_GRAPH] = {"precision": "fp32", "kind": "vjp"}
        place = {"reference": self.graph.path.name, "graph": self._place}
        return {"comparison": place, "graphs": {"files": graphs}}

    def files(self) -> Mapping[str, bytes]:
        """Graphs with the weights beside them; the name of the reference is kept, since weights may go by it."""
        kept = {self._place: self.graph}
        if self.gradient is not None:
            kept[BACKWARD_GRAPH] = self.gradient
        weights = {
            str(PurePosixPath(name).with_name(beside)): content
            for name, file in kept.items()
            for beside, content in file.weights.items()
        }
        return {**weights, **{name: file.data for name, file in kept.items()}}

    @property
    def _place(self) -> str:
        return f"reference/{self.graph.path.name}"

    def _check_gradient(self, gradient: EngineFile, x: Floats, raw: Floats) -> None:
        other = open_vjp(gradient, self.modality.input).embed(x)
        if other.shape == raw.shape and np.linalg.norm(other - raw) <= DIFFERENCE * np.linalg.norm(raw):
            return
        difference = (
            f"gives outputs {other.shape}"
            if other.shape != raw.shape
            else f"differs by {np.linalg.norm(other - raw) / np.linalg.norm(raw):.3g} in relative L2"
        )
        raise EngineError(
            f"`{gradient.path}` {difference}, where `{self.graph.path}` gives {raw.shape}; expected the outputs of the"
            " same model",
            hint="give the graph (x, v) -> (z, J^T v) of the reference, with what follows its last layer",
        )
