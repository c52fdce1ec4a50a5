"""Graphs that keep weights in other files: which files belong to them, what their hash covers, and what is refused."""

from __future__ import annotations

import os
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, strategies as st
from onnx.external_data_helper import set_external_data
from tiny import BundleMaker, Linear

from advcal_edge.errors import BundleError, EngineError
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.backends.onnx import OnnxBackend
from advcal_edge.runtime.engine import listed_digest, listed_engine, read_engine, read_listed
from advcal_edge.runtime.engine_file import EngineFile, graph_digest
from advcal_edge.runtime.model import Runner
from advcal_edge.runtime.weights import find_weights, is_plain, mentions, weights_names
from advcal_edge.spec import thermal

LINEAR = Linear.random(thermal(8))
SPEC = LINEAR.modality.input
NAME = "onnx/forward.fp32.onnx"
X = np.random.default_rng(0).random((3, *SPEC.shape), dtype=np.float32)


def write(folder: Path, places: dict[str, str], name: str = "g.onnx") -> Path:
    """The tiny encoder with the tensors `W` and `scale` in other files, as far as `places` says so."""
    model = onnx.load_from_string(LINEAR.forward())
    for tensor in model.graph.initializer:
        if tensor.name in places:
            set_external_data(tensor, places[tensor.name])
            (folder / places[tensor.name]).write_bytes(tensor.raw_data)
            tensor.ClearField("raw_data")
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def embed(path: Path) -> np.ndarray:
    return Runner(OnnxBackend(path), SPEC)(X)


ARRANGEMENTS: dict[str, dict[str, str]] = {
    "one of another name": {"W": "g.onnx_data"},
    "one of another suffix": {"W": "weights.bin"},
    "one per tensor": {"W": "W", "scale": "onnx__scale_12"},
    "the usual one and another": {"W": "g.onnx.data", "scale": "scale"},
    "a name with spaces and letters of all kinds": {"W": "Gewichte für x.bin"},
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_runs_with_weights_in_any_files_beside_it(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, ARRANGEMENTS[name])
    file = EngineFile.of(path)
    assert sorted(file.weights) == sorted(ARRANGEMENTS[name].values())
    assert file.sha256 == graph_digest(path)
    np.testing.assert_allclose(embed(path), LINEAR.embed(X), atol=1e-5)
    for place in ARRANGEMENTS[name].values():
        content = (tmp_path / place).read_bytes()
        (tmp_path / place).write_bytes(bytes(reversed(content)))
        assert graph_digest(path) == EngineFile.of(path).sha256 != file.sha256
        (tmp_path / place).write_bytes(content)
    assert graph_digest(path) == file.sha256


def test_what_runs_is_what_was_read(tmp_path: Path) -> None:
    path = write(tmp_path, {"W": "weights.bin"})
    file = EngineFile.of(path)
    (tmp_path / "weights.bin").write_bytes(bytes(LINEAR.weights.nbytes))
    np.testing.assert_allclose(Runner(OnnxBackend(file), SPEC)(X), LINEAR.embed(X), atol=1e-5)


def digest(data: bytes) -> bytes:
    return sha256(data).digest()


def test_the_hash_of_a_graph_with_one_usual_file_is_that_of_both_digests(tmp_path: Path) -> None:
    path = write(tmp_path, {"W": "g.onnx.data"})
    both = digest(path.read_bytes()) + digest((tmp_path / "g.onnx.data").read_bytes())
    assert graph_digest(path) == sha256(both).hexdigest()


def test_the_hash_of_several_files_has_their_names_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, {"W": "b", "scale": "a"})
    parts = digest(b"a") + digest((tmp_path / "a").read_bytes()) + digest(b"b") + digest((tmp_path / "b").read_bytes())
    assert graph_digest(path) == sha256(digest(path.read_bytes()) + parts).hexdigest()


def test_weights_that_changed_places_are_other_weights(tmp_path: Path) -> None:
    path = write(tmp_path, {"W": "b", "scale": "a"})
    before = graph_digest(path)
    a, b = (tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()
    (tmp_path / "a").write_bytes(b)
    (tmp_path / "b").write_bytes(a)
    assert graph_digest(path) != before


HOSTILE = [
    "../w",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "..",
    ".",
    "",
    "g.onnx",
    "h.onnx",
    "w\n",
    "w\0",
    "\u202ew",
    "x" * 256,
    "./w",
    "~/",
]


@pytest.mark.parametrize("place", HOSTILE)
def test_refuses_any_other_place(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    (folder / "a").mkdir(parents=True)
    for file in (tmp_path / "w", folder / "a" / "b"):
        file.write_bytes(LINEAR.weights.tobytes())
    path = write(folder, {"W": "w"})
    model = onnx.load(str(path), load_external_data=False)
    next(t for t in model.graph.initializer if t.name == "W").external_data[0].value = place
    path.write_bytes(model.SerializeToString())
    assert EngineFile.of(path).weights == {}
    with pytest.raises(EngineError, match=r"expected the plain name of a file beside it|is no ONNX graph"):
        OnnxBackend(path)


@given(st.text(max_size=300))
def test_a_plain_name_stays_in_its_folder(name: str) -> None:
    folder = Path("/somewhere/folder")
    if is_plain(name):
        assert Path(os.path.normpath(folder / name)).parent == folder
        assert Path(name).name == name
    else:
        assert not name.isidentifier() or len(name.encode()) > 255 or name.endswith(".onnx")


@given(names=st.sets(st.text(min_size=1, max_size=12).filter(is_plain), min_size=1, max_size=6), graph=st.binary())
def test_a_graph_names_its_files(names: set[str], graph: bytes) -> None:
    model = onnx.load_from_string(LINEAR.forward())
    for name in names:
        tensor = model.graph.initializer.add(name="e", data_type=1, data_location=onnx.TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=name)
    path = Path("g.onnx")
    assert weights_names(path, model.SerializeToString()) == sorted({*names, "g.onnx.data"})
    assert weights_names(path, b"location" + graph)[:1]  # whatever it is: no error before it is opened


def test_only_a_file_that_is_named_onnx_is_searched_for_names(tmp_path: Path) -> None:
    path = write(tmp_path, {"W": "weights.bin"}, "model.pb")
    with pytest.raises(EngineError, match=r"only sought for a graph named `\*.onnx`") as caught:
        OnnxBackend(path)
    assert "name it `model.onnx`" in str(caught.value.hint)


def test_a_word_is_found_across_the_parts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for before in (0, 2**20 - 8, 2**20 - 4, 2**20 - 1, 2**20, 2**20 + 5):
        path.write_bytes(bytes(before) + b"location")
        assert mentions(path, b"location")
    path.write_bytes(bytes(2**20 - 4) + b"locatio" + bytes(9))
    assert not mentions(path, b"location")


def test_links(tmp_path: Path) -> None:
    """The cache of a model hub: snapshots are links to blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    path = write(blobs, {"W": "model.onnx_data"})
    shutil.move(blobs / "model.onnx_data", blobs / "f00d")
    shutil.move(path, blobs / "beef")
    (snapshot / "model.onnx").symlink_to("../../blobs/beef")
    (snapshot / "model.onnx_data").symlink_to("../../blobs/f00d")
    np.testing.assert_allclose(embed(snapshot / "model.onnx"), LINEAR.embed(X), atol=1e-5)
    (snapshot / "model.onnx").unlink()
    shutil.copy(blobs / "beef", snapshot / "model.onnx")
    for read in (EngineFile.of, graph_digest):
        with pytest.raises(EngineError, match=r"is a link that leaves the folder of `model.onnx`"):
            read(snapshot / "model.onnx")


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {"W": "a", "scale": "b"})
    sizes = [(tmp_path / name).stat().st_size for name in "ab"]
    monkeypatch.setenv("ADVCAL_MAX_ENGINE_BYTES", str(sum(sizes)))
    EngineFile.of(path)
    monkeypatch.setenv("ADVCAL_MAX_ENGINE_BYTES", str(sum(sizes) - 1))
    with pytest.raises(EngineError, match=r"the weights of `.*` has 1,540 bytes; expected at most 1,539"):
        EngineFile.of(path)
    monkeypatch.delenv("ADVCAL_MAX_ENGINE_BYTES")
    monkeypatch.setenv("ADVCAL_MAX_WEIGHTS_FILES", "2")  # the usual one counts, whether it is there or not
    with pytest.raises(EngineError, match="has 3 files; expected at most 2"):
        find_weights(path)


def test_a_pipe_beside_a_graph_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, {"W": "weights.bin"})
    (tmp_path / "weights.bin").unlink()
    os.mkfifo(tmp_path / "weights.bin")
    with pytest.raises(EngineError, match="which is not there"):
        OnnxBackend(path)


def test_a_bundle_lists_them(make_bundle: BundleMaker, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    path = write(folder, {"W": "W", "scale": "scale"})
    listed = {NAME: path.read_bytes(), **{f"onnx/{name}": (folder / name).read_bytes() for name in ("W", "scale")}}
    bundle = make_bundle().add(listed)
    assert listed_digest(bundle, NAME) == graph_digest(bundle.path / NAME) == read_listed(bundle, NAME).sha256
    np.testing.assert_allclose(Embedder.load(bundle.path)(X), LINEAR.embed(X), atol=1e-5)
    assert listed_engine(bundle, NAME) == bundle.path / NAME
    (bundle.path / "onnx/scale").write_bytes(bytes(4))
    for read in (lambda: read_engine(bundle, bundle.path / NAME), lambda: listed_engine(bundle, NAME)):
        with pytest.raises(BundleError, match="onnx/scale"):
            read()


def test_unlisted_weights_of_a_bundle_are_not_read(make_bundle: BundleMaker, tmp_path: Path) -> None:
    path = write(tmp_path, {"W": "W"})
    bundle = make_bundle().add({NAME: path.read_bytes()})
    shutil.copy(tmp_path / "W", bundle.path / "onnx" / "W")
    with pytest.raises(EngineError, match="in `W`, which is not there"):
        Embedder.load(bundle.path)
