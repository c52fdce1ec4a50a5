"""`embed --topic` and `frames`: a bag from the command line, against what was written into it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from bag_files import FORMATS, only_file, write_bag
from ros import NANOSECONDS, image, motion, warm_scene
from tiny import BundleMaker, Linear

from advcal_edge.cli import main
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.sensors import read_frame
from advcal_edge.spec import depth, thermal

Capture = pytest.CaptureFixture[str]

START = 1_700_000_000 * NANOSECONDS
STEP = 100_000_000
COUNTS = warm_scene(20, 12, 16)
TIMES = [START + STEP * i for i in range(len(COUNTS))]
STAMPS = [f"{at // NANOSECONDS}.{at % NANOSECONDS:09d}" for at in TIMES]
IMAGES = [(at + 5, image(one, "16UC1", stamp=at)) for at, one in zip(TIMES, COUNTS, strict=True)]
SAMPLES = [(START + STEP // 10 * i, motion(START + STEP // 10 * i, [1, 2, 9.8, 0, 0, 1])) for i in range(300)]
TOPICS = {"/thermal": ("sensor_msgs/msg/Image", IMAGES), "/imu": ("sensor_msgs/msg/Imu", SAMPLES)}


def spoilt(index: int) -> dict[str, tuple[str, list[tuple[int, object]]]]:
    """The thermal topic with one image that is cut off."""
    bad = image(COUNTS[index], "16UC1", stamp=TIMES[index])
    bad.data = bad.data[:-20]
    images: list[tuple[int, object]] = list(IMAGES)
    images[index] = TIMES[index] + 5, bad
    return {"/thermal": ("sensor_msgs/msg/Image", images)}


@pytest.mark.parametrize("form", FORMATS)
def test_embed_gives_a_row_for_each_stamp(form: str, make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    bundle, bag, out = make_bundle().path, write_bag(tmp_path, form, TOPICS), tmp_path / "z.npz"
    assert main(["embed", str(bundle), str(bag), "--topic", "/thermal", "--json", "--out", str(out)]) == 0
    data = json.loads(capsys.readouterr().out)
    embedder = Embedder.load(bundle)
    z = embedder.embed_frames(list(COUNTS))
    assert [one["stamp"] for one in data["results"]] == STAMPS
    assert [one["matches"][0]["label"] for one in data["results"]] == [best[0].label for best in embedder.match(z)]
    assert data["topic"] == {"name": "/thermal", "type": "sensor_msgs/Image", "messages": 20}
    with np.load(out, allow_pickle=False) as archive:
        np.testing.assert_allclose(archive["z"], z, atol=1e-6)
        assert archive["stamps"].tolist() == TIMES


def test_embed_every_half_second_as_a_table(make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    bag = write_bag(tmp_path, "mcap", TOPICS)
    command = ["embed", str(make_bundle().path), str(bag), "--topic", "/thermal", "--every", "0.5", "--top", "1"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stamp", "label", "score"]
    assert [line.split()[0] for line in lines[1:]] == STAMPS[::5]


@pytest.mark.parametrize("topic", [["--topic", "/none"], ["--topic", "/imu"], []])
def test_embed_lists_the_topics(topic: list[str], make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    bag = write_bag(tmp_path, "db3", TOPICS)
    assert main(["embed", str(make_bundle().path), str(bag), *topic]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "/thermal (sensor_msgs/Image, 20), /imu (sensor_msgs/Imu, 300)" in err
    assert "hint: `--topic /thermal`" in err


def test_a_broken_image_ends_or_is_left_out(make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    bundle, bag, out = make_bundle().path, write_bag(tmp_path, "mcap", spoilt(7)), tmp_path / "z.npz"
    command = ["embed", str(bundle), str(bag), "--topic", "/thermal", "--top", "1", "--out", str(out)]
    assert main(command) == 2
    stdout, err = capsys.readouterr()
    assert len(stdout.splitlines()) == 1 + 7
    assert f"`/thermal` at {TIMES[7] // NANOSECONDS}" in err
    assert not out.exists()
    assert main([*command, "--skip-bad", "--json"]) == 1
    stdout, err = capsys.readouterr()
    data = json.loads(stdout)
    assert [one["stamp"] for one in data["results"]] == STAMPS[:7] + STAMPS[8:]
    assert len(data["skipped"]) == 1
    assert "expected 12 rows" in data["skipped"][0]["error"]
    assert "skipped 1, read 19" in err
    with np.load(out, allow_pickle=False) as archive:
        assert len(archive["z"]) == 19


@pytest.mark.parametrize(
    "extra", [["--every", "0"], ["--every", "nan"], ["--seconds", "2"], ["--topic", ""], ["another.mcap"]]
)
def test_impossible_requests(extra: list[str], make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    bag = write_bag(tmp_path, "mcap", TOPICS)
    assert main(["embed", str(make_bundle().path), str(bag), "--topic", "/thermal", *extra]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "internal error" not in err


def test_what_only_a_bag_has(make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), COUNTS[0])
    assert main(["embed", str(make_bundle().path), str(tmp_path / "a.png"), "--every", "1"]) == 2
    assert "expected `--topic`" in capsys.readouterr().err


def test_depth_of_a_message_is_in_millimetres(make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    millimetres = (700 + 40 * np.indices((12, 16)).sum(axis=0)).astype(np.uint16)
    topics = {
        "/counts": ("sensor_msgs/msg/Image", [(START, image(millimetres, "16UC1", stamp=START))]),
        "/metres": ("sensor_msgs/msg/Image", [(START, image((millimetres / 1000).astype(np.float32), "32FC1"))]),
    }
    bag, bundle = write_bag(tmp_path, "mcap", topics), make_bundle(Linear.random(depth(8)))
    embedder = Embedder.load(bundle.path)
    expected = embedder.embed_frames([millimetres / 1000])
    for topic in topics:
        out = tmp_path / f"{topic[1:]}.npz"
        assert main(["embed", str(bundle.path), str(bag), "--topic", topic, "--out", str(out)]) == 0
        with np.load(out, allow_pickle=False) as archive:
            np.testing.assert_allclose(archive["z"], expected, atol=1e-5)


def test_frames_become_files_that_the_sensor_reads(tmp_path: Path, capsys: Capture) -> None:
    bag, out = write_bag(tmp_path, "bag", TOPICS), tmp_path / "to label" / "thermal"
    command = ["frames", str(bag), "--topic", "thermal", "--modality", "thermal", "--out", str(out)]
    assert main([*command, "--every", "0.5"]) == 0
    assert f"next: advcal-edge calibrate --modality thermal --data '{out}'" in capsys.readouterr().err
    with (out / "index.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert [row["stamp"] for row in listed] == STAMPS[::5]
    assert sorted(path.name for path in out.iterdir()) == sorted([row["file"] for row in listed] + ["index.csv"])
    for row, expected in zip(listed, COUNTS[::5], strict=True):
        np.testing.assert_array_equal(read_frame(out / row["file"], thermal(8)), expected)
    assert main(command) == 2
    assert "not empty" in capsys.readouterr().err
    assert len(list(out.iterdir())) == 5


def test_windows_of_motion_become_tables(tmp_path: Path) -> None:
    bag, out = write_bag(tmp_path, "db3", TOPICS), tmp_path / "imu"
    command = ["frames", str(bag), "--topic", "/imu", "--modality", "imu", "--out", str(out), "--seconds", "1"]
    assert main(command) == 0
    files = sorted(out.glob("*.csv"))
    assert len(files) == 3
    table = np.loadtxt(files[0], delimiter=",", skiprows=1)
    np.testing.assert_allclose(table[:, 1:], np.tile([1, 2, 9.8, 0, 0, 1], (100, 1)))


def test_depth_says_its_unit_for_calibrate(tmp_path: Path, capsys: Capture) -> None:
    bag, out = write_bag(tmp_path, "mcap", TOPICS), tmp_path / "depth"
    assert main(["frames", str(bag), "--topic", "/thermal", "--modality", "depth", "--out", str(out)]) == 0
    assert "--set input.depth_scale=mm" in capsys.readouterr().err


def test_frames_that_cannot_be_read_are_left_out(tmp_path: Path, capsys: Capture) -> None:
    bag, out = write_bag(tmp_path, "mcap", spoilt(2)), tmp_path / "out"
    command = ["frames", str(bag), "--topic", "/thermal", "--modality", "thermal"]
    assert main([*command, "--out", str(out), "--skip-bad"]) == 1
    assert len(list(out.glob("*.png"))) == 19
    assert "expected 12 rows" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "other")]) == 2
    assert len(list((tmp_path / "other").glob("*.png"))) == 2


def test_a_truncated_bag_names_what_mends_it(make_bundle: BundleMaker, tmp_path: Path, capsys: Capture) -> None:
    whole = only_file(write_bag(tmp_path, "mcap", TOPICS))
    cut = tmp_path / "cut off.mcap"
    cut.write_bytes(whole.read_bytes()[:-50])
    assert main(["embed", str(make_bundle().path), str(cut), "--topic", "/thermal"]) == 2
    assert f"hint: `mcap recover '{cut}' -o" in capsys.readouterr().err


def test_two_frames_of_one_stamp(tmp_path: Path) -> None:
    twice = [(START, image(COUNTS[0], "16UC1", stamp=START)), (START + 1, image(COUNTS[1], "16UC1", stamp=START))]
    bag, out = write_bag(tmp_path, "mcap", {"/t": ("sensor_msgs/msg/Image", twice)}), tmp_path / "out"
    assert main(["frames", str(bag), "--topic", "/t", "--modality", "thermal", "--out", str(out)]) == 0
    assert len(list(out.glob("*.png"))) == 2


def test_a_topic_that_is_nothing_but_broken(
    make_bundle: BundleMaker, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("advcal_edge.cli.embed_topic.MOST_BAD", 5)
    broken = [(at, image(COUNTS[0], "16UC7", stamp=at)) for at in TIMES]
    bag = write_bag(tmp_path, "mcap", {"/thermal": ("sensor_msgs/msg/Image", broken)})
    assert main(["embed", str(make_bundle().path), str(bag), "--topic", "/thermal", "--skip-bad"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "more than 5 cannot be read; first: `/thermal` at 17" in err


def test_frames_sorted_into_classes_are_data_to_calibrate_on(tmp_path: Path) -> None:
    from advcal_edge.calibrate.data.folder import load_folder

    bag, out = write_bag(tmp_path, "mcap", TOPICS), tmp_path / "out"
    assert main(["frames", str(bag), "--topic", "/thermal", "--modality", "thermal", "--out", str(out)]) == 0
    for index, file in enumerate(sorted(out.glob("*.png"))):
        (folder := out / ("warm", "cold")[index % 2]).mkdir(exist_ok=True)
        file.rename(folder / file.name)
    loaded = load_folder(out, thermal(8), None, skip_bad=False)
    assert len(loaded.digests) == len(set(loaded.digests)) == 20
    assert loaded.skipped == 0


def test_frames_as_a_document(tmp_path: Path, capsys: Capture) -> None:
    bag, out = write_bag(tmp_path, "mcap", spoilt(1)), tmp_path / "out"
    command = ["frames", str(bag), "--topic", "/thermal", "--modality", "thermal", "--out", str(out)]
    assert main([*command, "--skip-bad", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [one["stamp"] for one in data["frames"]] == STAMPS[:1] + STAMPS[2:]
    assert all((out / one["file"]).is_file() for one in data["frames"])
    assert [one["stamp"] for one in data["skipped"]] == [STAMPS[1]]


def test_sound_says_its_rate_or_is_refused(tmp_path: Path, capsys: Capture) -> None:
    wave = (np.sin(np.arange(24000) * 0.1) * 9000).astype(np.int16)
    chunks = [(START + STEP * i, SimpleNamespace(data=part)) for i, part in enumerate(wave.reshape(-1, 800))]
    bag, out = write_bag(tmp_path, "mcap", {"/mic": ("std_msgs/msg/Int16MultiArray", chunks)}), tmp_path / "out"
    command = ["frames", str(bag), "--topic", "/mic", "--modality", "audio", "--seconds", "1", "--out", str(out)]
    assert main(command) == 2
    assert "hint: say it: `--rate 16000`" in capsys.readouterr().err
    assert main([*command, "--rate", "16000"]) == 2
    assert "0.500 s of sound in 1.000 s" in capsys.readouterr().err
    assert main([*command, "--rate", "8000"]) == 0
    assert len(list(out.glob("*.wav"))) == 2


@pytest.mark.parametrize("extra", [["--modality", "radar"], ["--modality", "thermal", "--seconds", "3"]])
def test_impossible_frames(extra: list[str], tmp_path: Path, capsys: Capture) -> None:
    bag = write_bag(tmp_path, "mcap", TOPICS)
    assert main(["frames", str(bag), "--topic", "/thermal", "--out", str(tmp_path / "out"), *extra]) == 2
    assert "internal error" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
