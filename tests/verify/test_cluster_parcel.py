"""A bundle as bytes: only what the manifest lists, and nothing that leads out of a worker's folder."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from tiny import BundleMaker

from advcal_edge.bundle import Bundle
from advcal_edge.errors import BundleError
from advcal_edge.verify.cluster.parcel import BUNDLE, pack, unpack


def entries(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def test_a_parcel_is_the_bundle_again_without_reports_and_strays(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle(precisions=("fp32", "fp16"), verdicts={"fp16": "pass"})
    (bundle.path / "notes.txt").write_text("private")
    data, engine = pack(bundle, "fp16")
    assert engine == f"{BUNDLE}/onnx/forward.fp16.onnx"
    listed = {f"{BUNDLE}/{name}" for name in bundle.manifest["files"] if not name.startswith("reports/")}
    assert set(entries(data)) == {*listed, f"{BUNDLE}/manifest.json"}
    there = unpack(data, engine, tmp_path / "there")
    assert there.bundle.identity() == bundle.identity()
    assert there.engine == tmp_path / "there" / BUNDLE / "onnx" / "forward.fp16.onnx"


def test_a_changed_file_does_not_travel(make_bundle: BundleMaker) -> None:
    bundle = make_bundle()
    (bundle.path / "probe.npz").write_bytes(b"other")
    with pytest.raises(BundleError, match="was changed or truncated"):
        pack(bundle, None)


def test_an_engine_in_the_folder_that_is_not_listed_keeps_its_place_and_its_weights(
    make_bundle: BundleMaker, tmp_path: Path
) -> None:
    bundle = make_bundle()
    mine = bundle.path / "mine" / "engine.onnx"
    mine.parent.mkdir()
    shutil.copy(bundle.path / "onnx" / "forward.fp32.onnx", mine)
    mine.with_name("engine.onnx.data").write_bytes(b"weights")
    data, engine = pack(bundle, str(mine))
    there = unpack(data, engine, tmp_path / "there")
    assert there.engine == there.bundle.path / "mine" / "engine.onnx"
    assert there.engine.with_name("engine.onnx.data").read_bytes() == b"weights"


def tar_of(*items: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry, content in items:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tar_of((tarfile.TarInfo("../out"), b"x")), "leaves the bundle"),
        (tar_of((tarfile.TarInfo("/tmp/out"), b"x")), "leaves the bundle"),  # noqa: S108
        (tar_of((link("bundle/a", "/etc/passwd"), b"")), "is no regular file"),
        (tar_of((tarfile.TarInfo("a"), b"x"), (tarfile.TarInfo("a"), b"y")), "cannot write"),
        (b"no tar at all" * 100, "cannot be unpacked"),
        (tar_of((tarfile.TarInfo("bundle/probe.npz"), b"x")), "is no bundle"),
    ],
)
def test_a_parcel_that_is_none_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=words):
        unpack(data, None, tmp_path / "there")
    assert not (tmp_path / "out").exists()


def test_a_parcel_with_a_changed_file_is_refused(make_bundle: BundleMaker, tmp_path: Path) -> None:
    bundle = make_bundle()
    data, _ = pack(bundle, None)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        items = [(tarfile.TarInfo(one.name), (tar.extractfile(one) or io.BytesIO()).read()) for one in tar]
    changed = [(one, content[::-1] if one.name.endswith("probe.npz") else content) for one, content in items]
    with pytest.raises(BundleError, match="was changed or truncated"):
        unpack(tar_of(*changed), None, tmp_path / "there")
    assert Bundle.open(bundle.path).identity() == bundle.identity()
