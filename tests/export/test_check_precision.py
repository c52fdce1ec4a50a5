"""The engine inspector's JSON of both versions, and what is held against the graph."""

from __future__ import annotations

import json
from typing import Any

import pytest

from advcal_edge.errors import ExportError
from advcal_edge.export.tensorrt.check_precision import compare_layers, precision_of, read_layers

Layer = dict[str, Any]


def ten(name: str, types: list[str], nodes: list[str], **more: Any) -> Layer:
    """A layer as TensorRT 10 tells it."""
    tensors = [{"Name": f"t{k}", "Dimensions": [1, 4], "Format/Datatype": text} for k, text in enumerate(types)]
    metadata = "\x1f".join(f"[ONNX Layer: {node}]" for node in nodes)
    return {
        "Name": name,
        "LayerType": "gemm",
        "Inputs": tensors[:-1],
        "Outputs": tensors[-1:],
        "Metadata": metadata,
        **more,
    }


def eleven(name: str, types: list[str], nodes: list[str], **more: Any) -> Layer:
    """The same as TensorRT 11 tells it."""
    layer = ten(name, types, nodes, **more)
    for tensor in (*layer["Inputs"], *layer["Outputs"]):
        tensor["DataType"] = tensor.pop("Format/Datatype")
        tensor["Format"] = "Row major linear format (kLINEAR)"
    return layer


DIALECTS = pytest.mark.parametrize("told", [ten, eleven])


def document(*layers: Layer | str) -> str:
    return json.dumps({"Layers": layers, "Bindings": ["x", "z"]})


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("Half", "fp16"),
        ("Row major linear FP16 format", "fp16"),
        ("Float", "fp32"),
        ("Row major linear FP32 format (kLINEAR)", "fp32"),
        ("BF16", "bf16"),
        ("Row major linear BFloat16 format", "bf16"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
        ("FP8", "fp8"),
        ("Int32", None),
        ("Int64", None),
        ("Bool", None),
        ("N/A due to dynamic shapes", None),
        ("", None),
    ],
)
def test_words_for_types(text: str, precision: str | None) -> None:
    assert precision_of(text) == precision


@DIALECTS
def test_layers_are_read(told: Any) -> None:
    (layer,) = read_layers(
        document(told("k", ["Half", "Half", "Float"], ["a", "b"], TacticName="sm80_gemm", Weights={"Type": "Half"}))
    )
    assert layer.precisions == {"fp16", "fp32"}
    assert layer.nodes == {"a", "b"}
    assert (layer.name, layer.kind, layer.tactic) == ("k", "gemm", "sm80_gemm")


@DIALECTS
def test_achieved_is_what_the_kernels_show(told: Any) -> None:
    layers = read_layers(
        document(told("k", ["Half", "Half"], ["a"]), told("h", ["Float", "Float"], ["head"]), told("s", ["Int32"], []))
    )
    achieved = compare_layers("fp16", {"a": "fp16", "head": "fp32", "unseen": "fp16"}, layers)
    assert (achieved.precision, achieved.layers) == ("fp16", {"a": "fp16", "head": "fp32"})


@DIALECTS
def test_an_fp32_engine_sold_as_fp16(told: Any) -> None:
    layers = read_layers(document(told("k", ["Float", "Float"], ["a"])))
    with pytest.raises(ExportError, match=r"precision not achieved: 1 of 1 .* `a` is fp16 in the graph and fp32"):
        compare_layers("fp16", {"a": "fp16"}, layers)


@DIALECTS
def test_reduced_precision_in_an_fp32_engine(told: Any) -> None:
    fine = told("k", ["Float", "Float"], ["a"])
    assert compare_layers("fp32", {"a": "fp32"}, read_layers(document(fine))).precision == "fp32"
    with pytest.raises(ExportError, match="`reformat` is fp16"):
        compare_layers("fp32", {"a": "fp32"}, read_layers(document(fine, told("reformat", ["Half"], []))))
    tf32 = told("k", ["Float", "Float"], ["a"], TacticName="sm80_xmma_gemm_f32f32_tf32f32_f32")
    with pytest.raises(ExportError, match="is tf32"):
        compare_layers("fp32", {"a": "fp32"}, read_layers(document(tf32)))


@DIALECTS
def test_no_kernel_shows_the_precision(told: Any) -> None:
    layers = read_layers(document(told("h", ["Float", "Float"], ["head"])))
    with pytest.raises(ExportError, match="no kernel of the plan shows int8, which 1 matrix"):
        compare_layers("int8", {"head": "fp32", "a": "int8"}, layers)


@DIALECTS
def test_layers_that_name_no_operators_are_taken_together(told: Any) -> None:
    layers = read_layers(document(told("ForeignNode", ["Float", "Half"], [])))
    assert compare_layers("fp16", {"a": "fp16"}, layers).precision == "fp16"
    with pytest.raises(ExportError, match="no kernel of the plan shows int8"):
        compare_layers("int8", {"a": "int8"}, layers)


def test_nothing_told_is_no_evidence() -> None:
    layers = read_layers(document(ten("k", ["N/A due to dynamic shapes"], ["a"])))
    assert compare_layers("fp16", {"a": "fp16"}, layers).layers == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": [{}]}', '{"Layers": [1]}', "null"])
def test_damaged_answers(text: str) -> None:
    with pytest.raises(ExportError, match="cannot be read"):
        read_layers(text)


def test_names_alone_are_not_enough() -> None:
    with pytest.raises(ExportError, match="names of layers only"):
        read_layers(document("a + b", "c"))
