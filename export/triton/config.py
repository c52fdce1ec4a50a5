"""The configurations of the two models: the engine alone, and the embedder that takes raw frames."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from advcal_edge.export.triton.served import Served
from advcal_edge.export.triton.text_format import Field, Message, Word, write_message
from advcal_edge.runtime.raw_inputs import RATE, RAW_INPUTS
from advcal_edge.runtime.triton_model import ACCEPT_RETESTED, EMBEDDING, LABELS, PREFIX, SCORES, SURE

VERSION = "1"
"""The one version of each model, and the name of its folder."""
DELAY = 1000
"""Microseconds that a request may wait for others to share its batch."""


def engine_config(name: str, served: Served) -> str:
    """The engine alone, x -> z, whose requests share batches."""
    usual, largest = served.batches
    axes = list(served.modality.input.shape)
    sizes = sorted({usual, largest})
    batching: dict[str, Field] = {}
    if largest > 1:
        preferred = [size for size in sizes if size > 1]
        batching["dynamic_batching"] = {
            "preferred_batch_size": preferred,
            "max_queue_delay_microseconds": DELAY,
        }
    return write_message(
        {
            "name": name,
            "backend": "tensorrt" if served.plan else "onnxruntime",
            "default_model_filename": served.file.path.name,
            "max_batch_size": largest,
            "input": [tensor("x", "TYPE_FP32", axes)],
            "output": [tensor("z", "TYPE_FP32", [served.dim])],
            **batching,
            **instances(served),
            "model_warmup": [warmup(size, axes) for size in sorted({1, *sizes})],
            "parameters": parameters(served.parameters),
        }
    )


def embedder_config(name: str, served: Served) -> str:
    """The embedder: raw frames of one size -> embeddings, labels and scores, by one direct call for each request."""
    raw = RAW_INPUTS[served.modality.preprocess]
    inputs: list[dict[str, Field]] = [
        tensor(known, numpy_type(dtype), list(raw.shape), optional=len(raw.dtypes) > 1)
        for known, dtype in raw.names.items()
    ]
    if raw.timed:
        inputs.append(tensor(RATE, "TYPE_FP64", [1], optional=True))
    return write_message(
        {
            "name": name,
            "backend": "python",
            "max_batch_size": served.batches[1],
            "input": inputs,
            "output": [
                tensor(EMBEDDING, "TYPE_FP32", [served.dim]),
                tensor(LABELS, "TYPE_STRING", [served.top]),
                tensor(SCORES, "TYPE_FP64", [served.top]),
                tensor(SURE, "TYPE_BOOL", [1]),
            ],
            **instances(served),
            "parameters": parameters({**served.parameters, f"{PREFIX}{ACCEPT_RETESTED}": "false"}),
        }
    )


def tensor(name: str, kind: str, dims: list[int], *, optional: bool = False) -> dict[str, Field]:
    """One input or output; `dims` without the batch."""
    return {"name": name, "data_type": Word(kind), "dims": dims, **({"optional": True} if optional else {})}


def numpy_type(dtype: str) -> str:
    """Triton's name of a numpy type: `uint8` is TYPE_UINT8, `float32` TYPE_FP32."""
    known = np.dtype(dtype)
    prefix = {"u": "UINT", "i": "INT", "f": "FP"}[known.kind]
    return f"TYPE_{prefix}{8 * known.itemsize}"


def instances(served: Served) -> dict[str, Field]:
    """One instance where the engine runs, and the one version that there is."""
    kind = Word("KIND_GPU" if served.on_gpu else "KIND_CPU")
    return {
        "instance_group": [{"kind": kind, "count": 1}],
        "version_policy": {"specific": {"versions": [int(VERSION)]}},
    }


def warmup(size: int, axes: list[int]) -> Message:
    """One run of a batch before the model counts as ready, so that no client waits for the first one."""
    zeros: Message = {"data_type": Word("TYPE_FP32"), "dims": axes, "zero_data": True}
    return {"name": f"batch of {size}", "batch_size": size, "inputs": {"key": "x", "value": zeros}}


def parameters(values: Mapping[str, str]) -> list[Message]:
    """Parameters of a model, which are strings."""
    return [{"key": name, "value": {"string_value": value}} for name, value in values.items()]
