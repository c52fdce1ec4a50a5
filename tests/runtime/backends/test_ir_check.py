"""What an IR may say: refused before OpenVINO sees it, so these tests need no openvino."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from advcal_edge.errors import EngineError
from advcal_edge.runtime.backends.ir_check import Facts, check_ir

PATH = Path("m.xml")
PARAMETER = '<layer id="0" name="x" type="Parameter" version="opset1"><data shape="?,8" element_type="f32"/></layer>'


def constant(kind: str = "f32", shape: str = "8, 4", offset: str = "0", size: str = "128") -> str:
    data = f'<data element_type="{kind}" shape="{shape}" offset="{offset}" size="{size}"/>'
    return f'<layer id="1" name="W" type="Const" version="opset1">{data}</layer>'


def ir(*layers: str, notes: str = "", version: str = "11", before: str = "") -> bytes:
    inside = f"<layers>{PARAMETER}{''.join(layers)}</layers><rt_info>{notes}</rt_info>"
    return f'<?xml version="1.0"?>{before}<net name="m" version="{version}">{inside}</net>'.encode()


def check(data: bytes, weights: int = 128) -> Facts:
    return check_ir(data, weights, PATH)


def refused(data: bytes, weights: int = 128) -> str:
    with pytest.raises(EngineError) as caught:
        check(data, weights)
    assert caught.value.hint
    return caught.value.message


def test_facts() -> None:
    notes = (
        '<framework><advcal_edge.precision value="int8"/><advcal_edge.step value="attention in fp32"/></framework>'
        '<conversion_parameters><input_model value="/home/me/m.onnx"/></conversion_parameters>'
    )
    quantizer = '<layer id="2" name="q" type="FakeQuantize" version="opset1"/>'
    facts = check(ir(constant(), constant("i8", "32", "96", "32"), quantizer, notes=notes))
    assert (facts.layers, facts.stored, facts.quantized) == (4, {"f32", "i8"}, True)
    assert (facts.precision, facts.label("step"), facts.execution) == ("int8", "attention in fp32", "f32")


@pytest.mark.parametrize(
    ("layers", "said", "precision"),
    [
        ([constant()], "fp32", "fp32"),
        ([constant()], "excellent", None),
        ([constant("f16", size="64")], "fp16", "fp16"),
        ([constant("f16", size="64")], "fp32", None),  # compressed after the export
        ([constant("i8", size="32")], "fp32", None),  # quantised after it
    ],
)
def test_the_label_of_the_export_holds_unless_the_weights_contradict(
    layers: list[str], said: str, precision: str | None
) -> None:
    label = f'<framework><advcal_edge.precision value="{said}"/></framework>'
    assert check(ir(*layers, notes=label)).precision == precision
    assert check(ir(*layers)).precision is None


ENTITY = '<!DOCTYPE net [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
BOMB = '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
BROKEN: dict[str, tuple[bytes, str]] = {
    "an entity in another file": (ir(before=ENTITY), "document type"),
    "entities that multiply": (ir(before=BOMB), "document type"),
    "another document": (b"<html/>", "begins with `html`"),
    "no XML": (b"\x08\x09:\xa2", "its XML is broken"),
    "nothing": (b"", "its XML is broken"),
    "half of it": (ir(constant())[:-20], "its XML is broken"),
    "an old version": (ir(version="7"), "of version `7`"),
    "weights beyond the end": (ir(constant(offset="4")), "ends at byte 132 of `m.bin`, which has 128"),
    "weights at a place that is no number": (ir(constant(offset="-4")), "lies at"),
    "weights of endless size": (ir(constant(size="9" * 30)), "lies at"),
    "a shape that claims more": (ir(constant(shape="8, 5")), "too few bytes"),
    "a shape that is no number": (ir(constant(shape="8, -4")), "has the shape"),
    "an input without end": (
        ir('<layer id="2" name="y" type="Parameter" version="opset1"><data shape="1,1000000000000"/></layer>'),
        "its layer `y` of `m.xml` has 1,000,000,000,000 values",
    ),
    "half bytes that claim more": (ir(constant("u4", shape="257")), "too few bytes"),
    "an operator of a library": (ir('<layer id="2" name="e" type="Evil" version="extension"/>'), "takes a library"),
    "an operator of nowhere": (ir('<layer id="2" name="e" type="Evil"/>'), "no operator set"),
    "state": (ir('<layer id="2" name="s" type="ReadValue" version="opset6"/>'), "keeps state"),
    "settings": (
        ir(notes="<runtime_options><CACHE_DIR value='/tmp'/></runtime_options>"),
        "brings settings for OpenVINO (`runtime_options/CACHE_DIR`)",
    ),
    "an unknown precision": (
        ir(notes="<runtime_options><INFERENCE_PRECISION_HINT value='f8'/></runtime_options>"),
        "is to run in `f8`",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses(name: str) -> None:
    data, words = BROKEN[name]
    assert words in refused(data)


def test_weights_that_are_missing() -> None:
    assert "`m.bin`, which is not there or empty" in refused(ir(constant()), weights=0)


def test_layers_inside_a_layer() -> None:
    begin = '<layer id="2" name="l" type="{}" version="opset5"><body><layers>{}</layers></body>{}</layer>'
    assert "ends at byte 136" in refused(ir(begin.format("Loop", constant(offset="8"), "")))
    late = '<data element_type="f32" shape="8" offset="120" size="32"/>'
    assert "`l` ends at byte 152" in refused(ir(begin.format("Const", PARAMETER, late)))


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "<body>" * 70 + "</body>" * 70
    assert "levels of graphs" in refused(ir(deep))
    data = ir(constant())
    monkeypatch.setenv("ADVCAL_MAX_GRAPH_NODES", "1")
    assert "2 nodes; expected at most 1" in refused(data)
    monkeypatch.delenv("ADVCAL_MAX_GRAPH_NODES")
    monkeypatch.setenv("ADVCAL_MAX_IR_BYTES", str(len(data) - 1))
    assert "bytes; expected at most" in refused(data)


@given(at=st.integers(0, 10_000), junk=st.binary(max_size=6), cut=st.integers(0, 6))
def test_damaged_files_end_in_words(at: int, junk: bytes, cut: int) -> None:
    data = ir(constant(), notes="<runtime_options><INFERENCE_PRECISION_HINT value='bf16'/></runtime_options>")
    at %= len(data)
    with suppress(EngineError):
        assert check(data[:at] + junk + data[at + cut :]).layers
