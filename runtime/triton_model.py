"""The model of Triton's Python backend that answers raw frames: a direct call of the `Embedder` for each request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advcal_edge.bundle import Bundle
from advcal_edge.errors import AdvcalError, EngineError
from advcal_edge.runtime.embedder import Embedder
from advcal_edge.runtime.raw_inputs import RATE, RAW_INPUTS

BUNDLE = "bundle"
"""Folder beside the model that holds what the `Embedder` needs of its bundle."""
PREFIX = "advcal_edge."
"""Prefix of the parameters in a model configuration."""
EMBEDDING, LABELS, SCORES = "embedding", "labels", "scores"


def answer(embedder: Embedder, given: Mapping[str, NDArray[Any]], top: int) -> dict[str, NDArray[Any]]:
    """Embeddings (n, d), and the best `top` labels (n, k) with their scores, of the frames of one request.

    Raises:
        InputError: frames that the sensor cannot have produced.
        EngineError: the engine fails.
    """
    z = embedder.embed_frames(RAW_INPUTS[embedder.modality.preprocess].frames(given))
    matches = embedder.match(z, top)
    return {
        EMBEDDING: z,
        LABELS: np.array([[match.label.encode() for match in row] for row in matches], np.object_),
        SCORES: np.array([[match.score for match in row] for row in matches], np.float64),
    }


def open_embedder(folder: Path, stated: Mapping[str, str]) -> Embedder:
    """The embedder of the bundle in `folder`, if it is the one that the configuration states.

    Raises:
        AdvcalError: it cannot be loaded, is of another calibration or engine, or lost its passing report.
    """
    identity = Bundle.open(folder).identity()
    if identity != stated["bundle"]:
        raise EngineError(
            f"`{folder}` is the bundle {identity[:12]}; the configuration was written for {stated['bundle'][:12]}",
            hint="write the repository again, with `--triton`",
        )
    embedder = Embedder.load(folder, stated["engine"], require_verified=stated["verdict"] == "pass")
    if embedder.runner.sha256 != stated["sha256"]:
        raise EngineError(
            f"the engine in `{folder}` has the hash {embedder.runner.sha256[:12]};"
            f" the configuration was written for {stated['sha256'][:12]}",
            hint="write the repository again, with `--triton`",
        )
    return embedder


class TritonPythonModel:
    """What the Python backend loads. The answer to a frame does not depend on who else asks at that moment."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the bundle that lies beside the model; an error keeps the server from serving it."""
        import triton_python_backend_utils as backend  # exists only inside the server

        self._backend = backend
        config = json.loads(args["model_config"])
        stated = {
            name.removeprefix(PREFIX): entry["string_value"]
            for name, entry in config["parameters"].items()
            if name.startswith(PREFIX)
        }
        self._top = int(stated["top"])
        folder = Path(args["model_repository"], args["model_version"], BUNDLE)
        try:
            self._embedder = open_embedder(folder, stated)
        except AdvcalError as error:
            raise backend.TritonModelException(in_words(error)) from error
        self._inputs = (*RAW_INPUTS[self._embedder.modality.preprocess].names, RATE)
        verified = "verified" if self._embedder.verified else "not verified"
        backend.Logger.log_info(f"{self._embedder.fingerprint}  {verified}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response for each request; what is wrong with one of them is told to its sender alone."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        backend, given = self._backend, {}
        for name in self._inputs:
            tensor = backend.get_input_tensor_by_name(request, name)
            if tensor is not None:
                given[name] = tensor.as_numpy()
        try:
            found = answer(self._embedder, given, self._top)
        except AdvcalError as error:
            return backend.InferenceResponse(error=backend.TritonError(in_words(error)))
        return backend.InferenceResponse([backend.Tensor(name, array) for name, array in found.items()])


def in_words(error: AdvcalError) -> str:
    """Message and hint of an error in one text, for a client that has no other channel."""
    return error.message if error.hint is None else f"{error.message}. Hint: {error.hint}"
