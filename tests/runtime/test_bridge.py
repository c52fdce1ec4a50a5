"""Engines made by others give the embeddings of the graph they were made from, and say how they were bridged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign import Axes, Surgeon, cast
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from onnx import helper
from tiny import DIM, Linear, write_bundle

from advcal_edge.errors import ConfigError, EngineError
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.engine_input import EngineInput
from advcal_edge.runtime.interface import Interface
from advcal_edge.runtime.model import Runner, open_runner
from advcal_edge.spec import image, imu, thermal

IMAGE, THERMAL = Linear.random(image(8)), Linear.random(thermal(8))
SHAPE, Z = IMAGE.modality.input.shape, ("n", DIM)
PLAIN = ("x", "float32", ("n", *SHAPE))


def batch(n: int, linear: Linear = IMAGE) -> NDArray[np.float32]:
    x: NDArray[np.float32] = np.random.default_rng(5).random((n, *linear.modality.input.shape), dtype=np.float32)
    return x


def opened(tmp_path: Path, graph: bytes, linear: Linear = IMAGE, width: int | None = DIM, **how: object) -> Runner:
    path = tmp_path / "other.onnx"
    path.write_bytes(graph)
    return open_runner(path, linear.modality.input, None, Interface(**how), width=width)  # type: ignore[arg-type]


def check(runner: Runner, *bridged: str, linear: Linear = IMAGE, tolerance: float = 1e-6) -> None:
    """Batches below, at and above a fixed size, each row the embedding of its own sample."""
    for n in (1, 3, 8, 13):
        z = runner(batch(n, linear))
        assert (z.dtype, z.shape) == (np.float32, (n, DIM))
        np.testing.assert_allclose(z, linear.embed(batch(n, linear)), atol=tolerance)
    assert runner(batch(0, linear)).shape == (0, DIM)
    assert runner.backend.bridged == bridged


def test_an_engine_that_fits_is_not_touched(tmp_path: Path) -> None:
    runner = opened(tmp_path, IMAGE.forward())
    assert type(runner.backend).__name__ == "OnnxBackend"
    named = opened(tmp_path, IMAGE.forward(), output="z", layout="nchw")
    assert (type(named.backend).__name__, named.fingerprint) == ("OnnxBackend", runner.fingerprint)


def test_other_names(tmp_path: Path) -> None:
    graph = Surgeon(IMAGE.forward()).close(("pixel_values", "float32", ("b", *SHAPE)), ("out", "float32", Z))
    check(opened(tmp_path, graph), "input `pixel_values` for `x`")


@pytest.mark.parametrize("size", [1, 2, 8])
def test_a_fixed_batch(tmp_path: Path, size: int) -> None:
    graph = Surgeon(IMAGE.forward()).close(("x", "float32", (size, *SHAPE)), ("z", "float32", (size, DIM)))
    runner = opened(tmp_path, graph)
    check(runner, f"fixed batch {size}, smaller ones padded" if size > 1 else "fixed batch 1")
    assert runner.backend.largest == size
    assert np.asarray(runner.bare(batch(1))[0]).shape == (size, DIM)  # type: ignore[index]


@pytest.mark.parametrize(("kind", "tolerance"), [("float16", 2e-3), ("float64", 1e-6)])
def test_other_floats(tmp_path: Path, kind: str, tolerance: float) -> None:
    surgeon = Surgeon(IMAGE.forward()).give("Cast", to=cast("float32")).take("Cast", to=cast(kind))
    runner = opened(tmp_path, surgeon.close(("x", kind, ("n", *SHAPE)), ("z", kind, Z)))
    check(runner, f"{kind} input", f"{kind} output", tolerance=tolerance)


def test_pixels_with_channels_last(tmp_path: Path) -> None:
    surgeon = Surgeon(IMAGE.forward()).give("Div", np.float32(255)).give("Cast", to=cast("float32"))
    surgeon.give("Transpose", perm=[0, 3, 1, 2])
    graph = surgeon.close(("x", "uint8", ("n", 8, 8, 3)), ("z", "float32", Z))
    runner = opened(tmp_path, graph, layout="nhwc", scale=255)
    rounded = (np.rint(batch(9) * 255) / 255).astype(np.float32)
    np.testing.assert_allclose(runner(batch(9)), IMAGE.embed(rounded), atol=1e-6)
    assert runner.backend.bridged == ("nhwc input (n, 8, 8, 3) for (n, 3, 8, 8)", "uint8 input, x * 255 rounded")
    assert runner(batch(9)).tobytes() == opened(tmp_path, graph, scale=255)(batch(9)).tobytes()  # the shape tells
    with pytest.raises(EngineError, match="fewer than 16 values") as refused:
        opened(tmp_path, graph)
    assert refused.value.hint == "state the factor: `--scale 255`"
    with pytest.raises(EngineError, match="in layout nchw") as refused:
        opened(tmp_path, graph, layout="nchw", scale=255)
    assert refused.value.hint == "leave out `--layout nchw`"


def test_a_layout_that_the_shape_leaves_open(tmp_path: Path) -> None:
    surgeon = Surgeon(IMAGE.forward()).give("Transpose", perm=[0, 3, 1, 2])
    graph = surgeon.close(("x", "float32", ("n", None, None, None)), ("z", "float32", Z))
    check(
        opened(tmp_path, graph, layout="nhwc"),
        "nhwc input (n, 8, 8, 3) for (n, 3, 8, 8)",
        "input of free size (n, ?, ?, ?), always filled with (n, 8, 8, 3)",
    )


def test_floats_from_0_to_255(tmp_path: Path) -> None:
    graph = Surgeon(IMAGE.forward()).give("Div", np.float32(255)).close(PLAIN, ("z", "float32", Z))
    check(opened(tmp_path, graph, scale=255), "float32 input, x * 255")


def test_free_height_and_width(tmp_path: Path) -> None:
    graph = Surgeon(IMAGE.forward()).close(("x", "float32", ("n", 3, "h", "w")), ("z", "float32", (None, None)))
    check(opened(tmp_path, graph), "input of free size (n, 3, h, w), always filled with (n, 3, 8, 8)")


@pytest.mark.parametrize("rest", [(DIM, 1, 1), (1, DIM), (1, 1, DIM)])
def test_outputs_with_axes_of_size_one(tmp_path: Path, rest: tuple[int, ...]) -> None:
    surgeon = Surgeon(IMAGE.forward()).take("Reshape", np.array([-1, *rest], np.int64))
    runner = opened(tmp_path, surgeon.close(PLAIN, ("z", "float32", ("n", *rest))))
    check(runner, f"output (n, {', '.join(map(str, rest))}) for (n, {DIM})")


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        (("n", 8, 8), "input (n, 8, 8) for (n, 1, 8, 8)"),
        (("n", 1, 1, 8, 8), "input (n, 1, 1, 8, 8) for (n, 1, 8, 8)"),
        (("n", 8, 8, 1), "nhwc input (n, 8, 8, 1) for (n, 1, 8, 8)"),
    ],
)
def test_inputs_with_one_axis_more_or_less(tmp_path: Path, axes: Axes, sentence: str) -> None:
    surgeon = Surgeon(THERMAL.forward()).give("Reshape", np.array([-1, 1, 8, 8], np.int64))
    runner = opened(tmp_path, surgeon.close(("x", "float32", axes), ("z", "float32", Z)), THERMAL)
    check(runner, sentence, linear=THERMAL)


def test_an_engine_without_a_batch_axis(tmp_path: Path) -> None:
    surgeon = Surgeon(IMAGE.forward()).give("Reshape", np.array([1, *SHAPE], np.int64))
    surgeon.take("Reshape", np.array([DIM], np.int64))
    runner = opened(tmp_path, surgeon.close(("x", "float32", SHAPE), ("z", "float32", (DIM,))))
    check(runner, "input without a batch axis: one sample at a time", f"output (n, {DIM}) for (n, {DIM})")


def test_motion_with_channels_last(tmp_path: Path) -> None:
    linear = Linear.random(imu(16, 100.0))
    surgeon = Surgeon(linear.forward()).give("Transpose", perm=[0, 2, 1])
    runner = opened(tmp_path, surgeon.close(("x", "float32", ("n", 16, 6)), ("z", "float32", Z)), linear)
    check(runner, "nhwc input (n, 16, 6) for (n, 6, 16)", linear=linear)


def test_the_output_as_wide_as_the_centers_is_taken(tmp_path: Path) -> None:
    others = {
        "tokens": (("Identity", "own_f"), "float32", ("n", 192)),
        "size": (("Shape", "own_x"), "int64", (4,)),
    }
    graph = two_outputs(others)
    check(opened(tmp_path, graph), "output `z` of 3")
    with pytest.raises(EngineError, match=r"has 2 outputs with embeddings \(n, d\)") as refused:
        opened(tmp_path, graph, width=None)
    assert "`tokens` float32 (2, 192)" in refused.value.message
    assert refused.value.hint == "name it: `--output NAME`"
    check(opened(tmp_path, graph, width=None, output="z"), "output `z` of 3")
    with pytest.raises(EngineError, match="has no output `Z`; it has `z` float32"):
        opened(tmp_path, graph, output="Z")
    with pytest.raises(EngineError, match=r"output `size` of graph .* holds no embeddings"):
        opened(tmp_path, graph, output="size")


def two_outputs(others: dict[str, tuple[tuple[str, ...], str, tuple[int | str, ...]]]) -> bytes:
    return Surgeon(IMAGE.forward()).close(PLAIN, ("z", "float32", Z), others)


def test_two_outputs_of_one_width_are_told_apart_by_name_alone(tmp_path: Path) -> None:
    graph = two_outputs({"negative": (("Neg", "z"), "float32", Z)})
    with pytest.raises(EngineError, match=r"has 2 outputs with embeddings \(n, 6\).*`z` .*, `negative`"):
        opened(tmp_path, graph)
    first, second = opened(tmp_path, graph, output="z"), opened(tmp_path, graph, output="negative")
    np.testing.assert_array_equal(first(batch(4)), -second(batch(4)))
    assert first.fingerprint != second.fingerprint


def test_an_output_that_is_no_tensor(tmp_path: Path) -> None:
    model = onnx.load_from_string(IMAGE.forward())
    model.graph.node.append(helper.make_node("SequenceConstruct", ["z", "z"], ["pair"]))
    model.graph.output.append(helper.make_tensor_sequence_value_info("pair", onnx.TensorProto.FLOAT, None))
    graph = model.SerializeToString()
    check(opened(tmp_path, graph), "output `z` of 2")
    with pytest.raises(EngineError, match="`pair`, a list and no tensor"):
        opened(tmp_path, graph, output="pair")


def test_tokens_are_no_embedding(tmp_path: Path) -> None:
    surgeon = Surgeon(IMAGE.forward()).take("Reshape", np.array([-1, 2, 3], np.int64))
    with pytest.raises(EngineError, match=r"no output with embeddings .*`z` float32 \(2, 2, 3\)"):
        opened(tmp_path, surgeon.close(PLAIN, ("z", "float32", ("n", 2, 3))))


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"`x` .*, `v` float32 .*expected `x` float32 \(n, 3, 8, 8\)"):
        opened(tmp_path, IMAGE.vjp())


def test_lengths_are_normalised_where_the_engine_is_of_others(tmp_path: Path) -> None:
    longer = Surgeon(IMAGE.forward(scale=3.0)).close(("images", "float32", ("n", *SHAPE)), ("z", "float32", Z))
    check(opened(tmp_path, longer), "input `images` for `x`", "output not of unit norm, normalised")
    own = IMAGE.forward(scale=3.0)
    np.testing.assert_allclose(np.linalg.norm(opened(tmp_path, own)(batch(2)), axis=1), 3, atol=1e-5)
    check(opened(tmp_path, own, output="z"), "output not of unit norm, normalised")


def test_a_vector_of_zeros_and_one_that_overflows_are_not_mended(tmp_path: Path) -> None:
    for factor, expected in ((0.0, 0.0), (np.inf, np.nan)):
        surgeon = Surgeon(IMAGE.forward()).take("Mul", np.float32(factor))
        graph = surgeon.close(("images", "float32", ("n", *SHAPE)), ("z", "float32", Z))
        lengths = np.linalg.norm(opened(tmp_path, graph)(batch(2)), axis=1)
        assert not np.isclose(lengths, 1).any()
        assert np.isnan(expected) or (lengths == expected).all()


def test_a_batch_frozen_inside_is_found_by_the_run(tmp_path: Path) -> None:
    surgeon = Surgeon(IMAGE.forward()).give("Reshape", np.array([1, *SHAPE], np.int64))
    runner = opened(tmp_path, surgeon.close(("images", "float32", ("n", *SHAPE)), ("z", "float32", Z)))
    np.testing.assert_allclose(runner(batch(1)), IMAGE.embed(batch(1)), atol=1e-6)
    with pytest.raises(EngineError):
        runner(batch(2))


@pytest.mark.parametrize(
    ("how", "message"), [({"layout": "nchww"}, "nchww"), ({"scale": 0.0}, "positive"), ({"scale": np.nan}, "positive")]
)
def test_wrong_settings(how: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Interface(**how)  # type: ignore[arg-type]


def test_the_embedder_bridges_and_a_report_counts_for_one_interface_alone(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "B", IMAGE, ("fp32",), {})
    path = tmp_path / "other.onnx"
    path.write_bytes(two_outputs({"negative": (("Neg", "z"), "float32", Z)}))
    embedder = Embedder.load(bundle.path, str(path), interface=Interface(output="negative"))
    np.testing.assert_allclose(embedder(batch(5)), -IMAGE.embed(batch(5)), atol=1e-6)
    with pytest.raises(EngineError, match="2 outputs"):
        Embedder.load(bundle.path, str(path))


@given(
    x=st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed)),
    kind=st.sampled_from(["uint8", "int8", "uint16", "int32"]),
    scale=st.floats(1, 70000) | st.just(1e12),
    size=st.integers(1, 9),
    fixed=st.none() | st.integers(9, 12),
    last=st.booleans(),
)
def test_integers_are_the_nearest_that_the_type_holds(
    x: np.random.Generator, kind: str, scale: float, size: int, fixed: int | None, last: bool
) -> None:
    values = x.uniform(-1, 1, (size, 3, 2, 4)).astype(np.float32)
    shape = (2, 4, 3) if last else (3, 2, 4)
    found = EngineInput("x", kind, shape, fixed, True, last, scale).convert(values)
    assert (found.dtype, found.shape) == (np.dtype(kind), (fixed or size, *shape))
    back = np.moveaxis(found, -1, 1) if last else found
    limits = np.iinfo(kind)
    exact = np.clip(values.astype(np.float64) * scale, limits.min, limits.max)
    assert np.abs(back[:size] - exact).max() <= 0.5 + 1e-6 * min(scale, 2**31)
    assert (back[size:] == back[size - 1]).all()
