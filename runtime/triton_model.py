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
from advcal_edge.runtime.abstention import Abstention
from advcal_edge.runtime.embedder import Embedder
from advcal_edge.runtime.raw_inputs import RATE, RAW_INPUTS
from advcal_edge.runtime.service import open_service

BUNDLE = "bundle"
"""Folder beside the model that holds what the `Embedder` needs of its bundle."""
PREFIX = "advcal_edge."
"""Prefix of the parameters in a model configuration."""
ACCEPT_RETESTED = "accept_retested"
"""Parameter of the embedder: is an engine served that was verified elsewhere and passes its self-test here?"""
EMBEDDING, LABELS, SCORES, SURE = "embedding", "labels", "scores", "sure"


def answer(embedder: Embedder, given: Mapping[str, NDArray[Any]], top: int) -> dict[str, NDArray[Any]]:
    """Embeddings (n, d), the best `top` labels (n, k) with their scores, and is the best sure (n, 1), of one request.

    Without a rule no answer is sure: a client that reads nothing else cannot take "no rule" for "sure".

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
        SURE: np.array([[row[0].sure is True] for row in matches], np.bool_),
    }


def rule_text(rule: Abstention | None) -> str:
    """The rule by which answers are sure, as a parameter of a configuration: JSON, or `none`."""
    return "none" if rule is None else json.dumps({"threshold": rule.threshold, "alpha": rule.alpha})


def open_embedder(folder: Path, stated: Mapping[str, str]) -> Embedder:
    """The embedder of the bundle in `folder`, if it is the one that the configuration states.

    Where a passing report is stated it must hold here, and a stored self-test must pass. As on the node of ROS an
    engine that was verified elsewhere and is only retested here is refused, unless the configuration accepts it: then
    it is not `verified`, and no answer is sure.

    Raises:
        AdvcalError: it cannot be loaded, is of another calibration, engine or rule, lost its passing report, or fails
            its self-test.
    """
    bundle = Bundle.open(folder)
    check_stated("bundle", bundle.identity(), stated, folder)
    passed = stated["verdict"] == "pass"
    embedder = open_service(
        folder,
        stated["engine"],
        require_verified=passed,
        selftest=passed,
        accept_retested=passed and stated.get(ACCEPT_RETESTED) == "true",
        accept=f"let the parameter `{PREFIX}{ACCEPT_RETESTED}` of the configuration be `true`",
    )
    check_stated("sha256", embedder.runner.sha256, stated, folder)
    if embedder.verified == passed:
        check_stated("abstention", rule_text(embedder.rule), stated, folder)
    return embedder


def check_stated(name: str, found: str, stated: Mapping[str, str], folder: Path) -> None:
    """Compare what lies in the bundle with the parameter of the configuration.

    Raises:
        EngineError: it is something else.
    """
    if found != stated.get(name):
        raise EngineError(
            f"`{name}` of `{folder}` is {found}; the configuration was written for {stated.get(name, 'nothing')}",
            hint="write the repository again, with `--triton`",
        )


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
        selftest = self._embedder.selftest
        verified = "verified" if self._embedder.verified else "not verified"
        tested = "no self-test stored" if selftest is None else f"self-test {selftest}"
        backend.Logger.log_info(f"{self._embedder.fingerprint}  {verified}  {tested}")
        for difference in () if selftest is None else selftest.differences:
            backend.Logger.log_warn(difference)

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
