"""What is no file of a sensor is refused at once, whichever sensor it should be of, with a word on what mends it."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from refusal import refused
from tiny import BundleMaker

from advcal_edge.cli import main
from advcal_edge.errors import ConfigError
from advcal_edge.runtime.sensors import read_frame
from advcal_edge.runtime.sensors.files.image_file import read_npy
from advcal_edge.spec import MODALITIES, Modality, audio, depth, event, image, imu, point, ranging, thermal, video

SENSORS = [image(8), video(8, 2), thermal(8), depth(8), ranging(8), audio(16, 40), imu(64, 50.0), event(8), point(8)]


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        at = os.getcwd()
        os.chdir(path.parent)  # the name of a socket has 108 bytes at most
        try:
            server.bind(path.name)
        finally:
            os.chdir(at)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def empty(path: Path) -> None:
    path.touch()


def nothing(path: Path) -> None:
    pass


CASES = [
    (pipe, "is a pipe", "into a file"),
    (listener, "No such device|socket", "into a file"),
    (device, "is a device", "into a file"),
    (Path.mkdir, "is a folder|Is a directory", "name the files in it"),
    (loop, "Too many levels", "ln -sfn"),
    (broken_link, "No such file", "leads to `nowhere`"),
    (empty, "is empty: it has 0 bytes", "record it again"),
    (nothing, "No such file", "shows what is there"),
]


def test_every_modality_is_here() -> None:
    assert {modality.name for modality in SENSORS} == set(MODALITIES)


@pytest.mark.parametrize(("make", "found", "mended"), CASES, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("modality", SENSORS, ids=lambda modality: modality.preprocess)
def test_what_is_no_file_is_refused_for_every_sensor(
    modality: Modality, make: Callable[[Path], None], found: str, mended: str, tmp_path: Path
) -> None:
    make(tmp_path / "file")
    with refused(found) as refusal:
        read_frame(tmp_path / "file", modality)
    assert f"`{tmp_path / 'file'}`" in refusal.value.message
    assert mended in str(refusal.value.hint)


@pytest.mark.parametrize("modality", SENSORS, ids=lambda modality: modality.preprocess)
@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "\udcff\udcfe", "none/of/these", "d/" * 99])
def test_names_that_no_file_can_have_are_refused(name: str, modality: Modality, tmp_path: Path) -> None:
    with refused("cannot read"):
        read_frame(f"{tmp_path}/{name}", modality)


@pytest.mark.parametrize("modality", SENSORS, ids=lambda modality: modality.preprocess)
def test_a_file_with_a_name_that_is_no_text_is_read(modality: Modality, tmp_path: Path) -> None:
    path = tmp_path / "\udcff.raw"
    path.write_bytes(bytes(400))
    with refused("formats|neither|none of"):
        read_frame(path, modality)


@pytest.mark.parametrize("modality", SENSORS, ids=lambda modality: modality.preprocess)
def test_a_file_that_is_too_large_is_not_opened_further(
    modality: Modality, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SENSOR_BYTES", "FILM_BYTES"):
        monkeypatch.setenv(f"ADVCAL_MAX_{name}", "100")
    (tmp_path / "file").write_bytes(bytes(101))
    with refused("has 101 bytes; expected at most 100") as refusal:
        read_frame(tmp_path / "file", modality)
    assert "BYTES=101" in str(refusal.value.hint)
    monkeypatch.setenv("ADVCAL_MAX_SENSOR_BYTES", "a lot")
    monkeypatch.setenv("ADVCAL_MAX_FILM_BYTES", "a lot")
    with pytest.raises(ConfigError, match="expected a positive whole number"):
        read_frame(tmp_path / "file", modality)


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_embed_refuses_what_never_ends_at_once(kind: str, make_bundle: BundleMaker, tmp_path: Path) -> None:
    path = Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(path := tmp_path / "pipe")
    command = [sys.executable, "-m", "advcal_edge", "embed", str(make_bundle().path), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"error: `{path}` is a {kind}; expected a regular file\n\nhint: " in done.stderr


def test_embed_names_the_bad_one_of_three(
    make_bundle: BundleMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{index}.npy" for index in range(3)]
    for index, path in enumerate(paths):
        np.save(path, np.full((9, 9), 1e9 if index == 1 else 20.0 + index, np.float32))
    assert main(["embed", str(make_bundle().path), *map(str, paths)]) == 2
    error = capsys.readouterr().err
    assert str(paths[1]) in error
    assert str(paths[0]) not in error
    assert str(paths[2]) not in error


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), 'more': 1}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2L, 3, }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1e400, 3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "0," * 99 + ")}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 3}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f8', 'fortran_order': 0x1for x in (), 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': '\\d', 'shape': (1,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|S0', 'fortran_order': False, 'shape': (999999999999,)}",
        "{'descr': '<f16', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': 'f8,f8', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a', '<f8', (99999999,))], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a', [('b', '<f8')])], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': " + "(" * 4000 + ")" * 4000 + "}",
        "__import__('os').system('true')",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)} + 1",
        '"""',
        "\\",
        "\0\0\0",
        "",
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_headers_that_numpy_did_not_write_are_refused(header: str, version: int, tmp_path: Path) -> None:
    text = header.encode() + b"\n"
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    (tmp_path / "file").write_bytes(b"\x93NUMPY" + bytes([version, 0]) + size + text + bytes(64))
    with refused("no readable .npy array"):
        read_frame(tmp_path / "file", image(8))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=">i2").reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3), np.float32),
        np.array(7, np.uint8),
        np.array(["a", "bc"]),
        np.array([(1, 2.5, True)], [("t", "<i8"), ("x", "<f4"), ("on", "?")]),
        np.array(["2020-01-01"], "M8[s]"),
        np.array([1 + 2j]),
    ],
    ids=str,
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_come_back_as_numpy_wrote_them(array: np.ndarray, version: tuple[int, int], tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        np.lib.format.write_array(file, array, version=version)
    with (tmp_path / "file").open("rb") as file:
        found = read_npy(file, tmp_path / "file")
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()


def test_the_command_that_undoes_a_filter_of_hdf5_works(tmp_path: Path) -> None:
    rows = np.column_stack([np.arange(40), np.arange(40) % 7, np.arange(40) % 5, np.arange(40) % 2])
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file.create_dataset("CD/events", data=rows, scaleoffset=0)
    with refused("packed by the filters") as refusal:
        read_frame(tmp_path / "packed.h5", event(8))
    command = shlex.split(str(refusal.value.hint).split("`")[1])
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True)
    assert len(read_frame(tmp_path / "events.h5", event(8))) == 40
