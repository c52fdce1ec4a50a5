"""`advcal-edge look`: what it says is what numpy says, and nothing of a file gets into the page unescaped."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from page_reader import Reader
from tiny import BundleMaker, Linear

from advcal_edge.cli import main
from advcal_edge.look.run import VIEWS
from advcal_edge.runtime.sensors import preprocess_clips, read_frame
from advcal_edge.runtime.sensors.sensor import SENSORS
from advcal_edge.spec import thermal

Capture = pytest.CaptureFixture[str]
Look = Callable[..., dict[str, Any]]

DOWN, ACROSS = np.mgrid[:60, :80] / 80.0
KELVIN = 288 + 12 * np.exp(-((ACROSS - 0.4) ** 2 + (DOWN - 0.3) ** 2) * 12)
METRES = np.where(ACROSS < 0.25, 0.0, 1 + 2 * DOWN)


@pytest.fixture
def look(tmp_path: Path, capsys: Capture) -> Look:
    """Looks at one file, and gives what was said of it and the page."""

    def run(file: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
        page = tmp_path / "page.html"
        assert main(["look", str(file), "--out", str(page), "--json", *arguments]) == code
        document = json.loads(capsys.readouterr().out)
        return {**document["files"][0], "page": Reader(page.read_text(encoding="utf-8"))}

    return run


def picture(values: NDArray[Any], path: Path) -> Path:
    """An image file with these values, channels as blue, green, red."""
    assert cv2.imwrite(str(path), values)
    return path


def array(values: NDArray[Any], path: Path) -> Path:
    """An npy file with these values."""
    np.save(path, values)
    return path


def numbers(text: str) -> list[float]:
    """The numbers in a fact, in order."""
    words = text.replace(",", " ").replace("(", " ").replace("%", " ").split()
    return [float(word) for word in words if word.lstrip("-").replace(".", "", 1).isdigit()]


def film(path: Path) -> Path:
    """Thirty frames that brighten, ten a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for level in range(30):
        writer.write(np.full((64, 96, 3), 60 + 5 * level, np.uint8))
    writer.release()
    return path


def motion(path: Path) -> Path:
    """Eight seconds at rest, lying on its y axis, with a header."""
    rng, t = np.random.default_rng(0), np.arange(400) / 50
    rows = np.c_[t, rng.normal((0, -9.81, 0), 0.1, (400, 3)), rng.normal(0, 0.05, (400, 3))]
    np.savetxt(path, rows, delimiter=",", header="t,ax,ay,az,gx,gy,gz", comments="", fmt="%.6g")
    return path


def sound(path: Path) -> Path:
    """Three seconds of a tone of 440 Hz at half of full scale."""
    soundfile = pytest.importorskip("soundfile", reason="reading sound needs soundfile")
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * np.arange(66150) / 22050), 22050)
    return path


def events(path: Path) -> Path:
    """Two thousand events in half a second, on a sensor of 64 x 48."""
    rng = np.random.default_rng(0)
    rows = np.c_[
        np.linspace(1, 1.5, 2000), rng.integers(0, 64, 2000), rng.integers(0, 48, 2000), np.arange(2000) % 4 == 0
    ]
    rows[0, 1:3] = 63, 47
    return array(rows, path)


def cloud(path: Path) -> Path:
    """Five hundred points, and a hundred that hit nothing."""
    points = np.random.default_rng(0).uniform((-1, -2, 0), (1, 2, 3), (500, 3))
    return array(np.vstack([points, np.full((100, 3), np.nan)]), path)


FILES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "image": (lambda f: picture((255 * np.dstack([DOWN, ACROSS, DOWN])).astype(np.uint8), f / "x.png"), ()),
    "thermal": (lambda f: picture(np.rint(KELVIN * 100).astype(np.uint16), f / "x.png"), ()),
    "depth": (lambda f: picture((METRES * 1000).astype(np.uint16), f / "x.png"), ("--set", "input.depth_scale=mm")),
    "video": (lambda f: film(f / "x.avi"), ()),
    "imu": (lambda f: motion(f / "x.csv"), ()),
    "audio": (lambda f: sound(f / "x.wav"), ()),
    "event": (lambda f: events(f / "x.npy"), ()),
    "point": (lambda f: cloud(f / "x.npy"), ()),
}


@pytest.mark.parametrize("modality", FILES)
def test_a_page_holds_frame_facts_and_x_and_refers_to_nothing_outside(
    modality: str, look: Look, tmp_path: Path
) -> None:
    make, arguments = FILES[modality]
    seen = look(make(tmp_path), "--modality", modality, *arguments)
    page: Reader = seen["page"]
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)
    pictures = [reference for reference in page.references if not reference.startswith("#")]
    assert pictures or modality == "imu"
    assert all(reference.startswith("data:image/png;base64,") for reference in pictures)
    assert page.words.index("The sensor's frame") < page.words.index("x, as the encoder gets it")
    for group in ("read", "measured", "fitted", "x"):
        assert seen[group]
        assert all(f"{name} {' '.join(text.split())}" in page.words for name, text in seen[group].items())
    assert all(f"{name} {setting['value']}" in page.words for name, setting in seen["settings"].items())
    assert seen["refused"] is None


def test_facts_of_x_are_those_of_what_the_reader_gives(look: Look, tmp_path: Path) -> None:
    file = FILES["thermal"][0](tmp_path)
    seen = look(file, "--modality", "thermal")["x"]
    spec = thermal(64)
    x = preprocess_clips(spec, read_frame(file, spec))
    assert seen["shape"] == "1 x 64 x 64 (chw), 1 clip"
    assert numbers(seen["range"]) == pytest.approx([x.min(), x.max(), x.mean()], abs=1e-3)
    assert numbers(seen["at the upper bound"])[0] == (x == 1).sum()
    assert numbers(seen["distinct values"]) == [len(np.unique(x)), 256]


def test_thermal_in_degrees_with_its_window(look: Look, tmp_path: Path) -> None:
    seen = look(FILES["thermal"][0](tmp_path), "--modality", "thermal")
    celsius = np.rint(KELVIN * 100) / 100 - 273.15
    assert numbers(seen["measured"]["range"]) == pytest.approx([celsius.min(), celsius.max()], abs=0.01)
    expected = np.percentile(celsius, (1, 5, 50, 95, 99))
    assert numbers(seen["measured"]["percentiles"])[:5] == pytest.approx(expected.tolist(), abs=0.01)
    low, high = np.percentile(celsius, (0.5, 99.5))
    assert numbers(seen["fitted"]["window"]) == pytest.approx([low, high, high - low], abs=0.01)
    assert numbers(seen["x"]["eps means"])[0] == pytest.approx(1000 * (high - low) * 4 / 255, rel=0.01)
    assert seen["settings"]["kelvin_per_count"] == {"value": "lepton: 0.01", "origin": "default"}
    assert "below counts" in seen["page"].words


@pytest.mark.parametrize("scale", ["mm", "tum"])
def test_depth_in_metres_with_its_holes(scale: str, look: Look, tmp_path: Path) -> None:
    counts = METRES * {"mm": 1000, "tum": 5000}[scale]
    file = picture(np.rint(counts).astype(np.uint16), tmp_path / "x.png")
    seen = look(file, "--modality", "depth", "--set", f"input.depth_scale={scale}")
    assert numbers(seen["measured"]["range"]) == pytest.approx([1, METRES.max()], abs=1e-3)
    assert numbers(seen["measured"]["holes"])[:2] == [(METRES == 0).sum(), METRES.size]
    assert seen["settings"]["depth_scale"]["origin"] == "declared"
    median, pixels = float(np.median(METRES[METRES > 0])), 77.85 * 4 / 255
    nearer = median - 0.075 * 519 / (0.075 * 519 / median + pixels)
    assert numbers(seen["x"]["eps means"])[:2] == pytest.approx([pixels, 100 * nearer], rel=0.01)


def test_image_with_its_crop(look: Look, tmp_path: Path) -> None:
    frame = np.full((60, 80, 3), 128, np.uint8)
    frame[:6], frame[-3:] = 255, 0
    seen = look(picture(frame, tmp_path / "x.png"), "--modality", "image")
    assert seen["measured"]["saturated"] == "10 %"
    assert seen["measured"]["black"] == "5 %"
    assert seen["fitted"]["crop and resize"].startswith("the middle 60 x 60 of 80 x 60 pixels, to 64 x 64")
    assert seen["x"]["eps means"].startswith("4 grey levels")


def test_thermal_without_holes_and_telemetry(look: Look, tmp_path: Path) -> None:
    counts = np.rint(KELVIN * 100).astype(np.uint16)
    counts[:10] = 0
    noise = np.random.default_rng(0).integers(0, 58744, (2, 80)).astype(np.uint16)
    file = picture(np.vstack([counts, noise]), tmp_path / "x.png")
    seen = look(file, "--modality", "thermal", "--set", "input.invalid=0,rows:-2")["measured"]
    celsius = counts[12:] / 100 - 273.15
    assert numbers(seen["range"])[1] == pytest.approx(celsius.max(), abs=0.01)
    assert numbers(seen["range"])[0] > 10
    holes, pixels = numbers(seen["holes"])[:2]
    assert 800 <= holes <= 960
    assert pixels == counts.size


def test_a_turned_picture_stands_upright(look: Look, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="writing EXIF needs Pillow")
    exif = image.Exif()
    exif[274] = 6
    up = np.zeros((60, 80, 3), np.uint8)
    up[:20] = 255
    image.fromarray(np.rot90(up)).save(tmp_path / "x.jpg", quality=95, exif=exif)
    seen = look(tmp_path / "x.jpg", "--modality", "image")
    assert seen["read"]["orientation"] == "turned by 90 degrees, clockwise"
    assert seen["fitted"]["crop and resize"].startswith("the middle 60 x 60 of 80 x 60 pixels")


def test_depth_of_no_declared_scale_is_refused_with_the_scales(look: Look, tmp_path: Path) -> None:
    file = picture((METRES * 1000).astype(np.uint16), tmp_path / "x.png")
    refused = look(file, "--modality", "depth", code=2)
    assert "--set input.depth_scale=mm" in refused["refused"]["hint"]
    assert "--set input.depth_scale=mm" in refused["page"].words
    assumed = look(file, "--modality", "depth", "--assume-units")
    assert assumed["settings"]["assume_units"] == {"value": "yes", "origin": "declared"}


def test_disparities_are_shown_as_distances(look: Look, tmp_path: Path) -> None:
    pixels = np.where(METRES > 0, 0.075 * 519 / np.maximum(METRES, 0.1), 0)
    file = array(pixels.astype(np.float32), tmp_path / "x.npy")
    seen = look(file, "--modality", "depth", "--set", "input.raw_disparity=1")
    assert numbers(seen["measured"]["range"]) == pytest.approx([1, METRES.max()], abs=1e-3)


def test_sound_in_seconds_and_decibels(look: Look, tmp_path: Path) -> None:
    seen = look(FILES["audio"][0](tmp_path), "--modality", "audio")
    assert (seen["read"]["rate"], seen["read"]["duration"]) == ("22050 Hz", "3 s")
    assert numbers(seen["measured"]["level"])[0] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.05)
    assert seen["fitted"]["resampled"] == "from 22050 to 16000 Hz"
    assert "kHz" in seen["page"].words
    assert seen["x"]["eps means"].startswith("1.91 dB")


def test_motion_names_the_axis_that_points_up(look: Look, tmp_path: Path) -> None:
    seen = look(FILES["imu"][0](tmp_path), "--modality", "imu")
    assert seen["measured"]["gravity"].startswith("\N{MINUS SIGN}y points up, within 0.")
    assert numbers(seen["measured"]["acceleration y"])[2] == pytest.approx(-9.81, abs=0.02)
    assert float(seen["read"]["rate"].split()[0]) == pytest.approx(50, rel=1e-3)
    assert "0.308 m/s\N{SUPERSCRIPT TWO}" in seen["x"]["eps means"]


def test_motion_in_the_units_that_are_declared(look: Look, tmp_path: Path) -> None:
    rows = np.loadtxt(motion(tmp_path / "si.csv"), delimiter=",", skiprows=1)
    rows[:, 1:4] /= 9.80665
    rows[:, 4:] = np.degrees(rows[:, 4:])
    file = tmp_path / "x.csv"
    np.savetxt(file, rows, delimiter=",", header="t,ax,ay,az,gx,gy,gz", comments="", fmt="%.9g")
    assert look(file, "--modality", "imu", code=2)["refused"] is not None
    units = ("--set", "input.accel_unit=g", "--set", "input.gyro_unit=deg/s")
    seen = look(file, "--modality", "imu", *units)
    assert numbers(seen["measured"]["acceleration y"])[2] == pytest.approx(-9.81, abs=0.02)
    assert seen["settings"]["accel_unit"] == {"value": "g: 9.80665", "origin": "declared"}


def test_events_with_duration_and_rate(look: Look, tmp_path: Path) -> None:
    seen = look(FILES["event"][0](tmp_path), "--modality", "event")
    assert seen["read"]["events"] == "2000"
    assert seen["read"]["sensor"].startswith("64 x 48 pixels")
    assert numbers(seen["measured"]["duration"]) == pytest.approx([0.5])
    assert numbers(seen["measured"]["rate"]) == pytest.approx([4000], rel=1e-3)
    assert numbers(seen["measured"]["brighter"])[:2] == [500, 2000]


def test_events_that_may_be_in_microseconds_say_so(look: Look, tmp_path: Path) -> None:
    file = events(tmp_path / "x.npy")
    rows = np.load(file)
    rows[:, 0] = np.rint(rows[:, 0] * 1e6)
    unit = look(array(rows, file), "--modality", "event")["measured"]["unit"]
    assert "`--set input.time_unit=us`) they span 0.5 s" in unit
    assert look(file, "--modality", "event", "--set", "input.time_unit=us")["measured"]["duration"] == "0.5 s"


def test_points_with_their_extent_and_holes(look: Look, tmp_path: Path) -> None:
    file = FILES["point"][0](tmp_path)
    seen, points = look(file, "--modality", "point"), np.load(file)[:500]
    for axis, name in enumerate("xyz"):
        expected = [points[:, axis].min(), points[:, axis].max()]
        assert numbers(seen["measured"][name]) == pytest.approx(expected, rel=1e-3)
    assert numbers(seen["measured"]["holes"])[:2] == [100, 600]


def test_a_film_is_shown_whole_with_time_stamps(look: Look, tmp_path: Path) -> None:
    seen = look(FILES["video"][0](tmp_path), "--modality", "video")
    assert (seen["read"]["frames"], seen["read"]["pixels"]) == ("30", "96 x 64")
    assert (seen["read"]["rate"], seen["read"]["duration"]) == ("10 frames/s", "3 s")
    low, high = numbers(seen["measured"]["range"])
    assert (low, high) == (pytest.approx(60, abs=3), pytest.approx(205, abs=3))
    assert "12 of 30 frames, at 0.00 s, " in seen["page"].words
    assert "2.90 s" in seen["page"].words
    assert "the middle 64 x 64 of 96 x 64 pixels" in seen["fitted"]["crop and resize"]


def test_a_refused_file_is_an_answer(tmp_path: Path, capsys: Capture) -> None:
    file, page = array(np.zeros((8, 8, 2), np.float64), tmp_path / "x.npy"), tmp_path / "page.html"
    assert main(["look", str(file), "--modality", "image", "--out", str(page)]) == 2
    out, err = capsys.readouterr()
    words = Reader(page.read_text(encoding="utf-8")).words
    assert "float64 (8, 8, 2); expected uint8 or uint16 RGB" in words
    assert "Hint:" in words
    assert "as stored float64 (8, 8, 2)" in words
    assert "x, as the encoder gets it" not in words
    assert "refused: " in out
    assert "hint: " in out
    assert "refused: 1 of 1" in err
    assert "next:" not in err


def test_a_file_that_is_not_there_is_refused_too(look: Look, tmp_path: Path) -> None:
    seen = look(tmp_path / "none.png", "--modality", "image", code=2)
    assert "cannot read" in seen["refused"]["message"]
    assert seen["read"] == {"format": "not readable"}


def test_several_files_have_a_section_each(tmp_path: Path, capsys: Capture) -> None:
    good = FILES["thermal"][0](tmp_path)
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    page = tmp_path / "page.html"
    assert main(["look", str(good), str(bad), "--modality", "thermal", "--out", str(page), "--json"]) == 2
    assert [each["refused"] is None for each in json.loads(capsys.readouterr().out)["files"]] == [True, False]
    reader = Reader(page.read_text(encoding="utf-8"))
    assert {"file-1", "file-2"} <= set(reader.ids)
    assert {"#file-1", "#file-2"} <= set(reader.references)


def test_every_sensor_has_a_view() -> None:
    for preprocessing in SENSORS:
        module = import_module(f"advcal_edge.look.views.{VIEWS.get(preprocessing, preprocessing)}")
        assert callable(module.view)


LIGHT = """
import sys
from advcal_edge.cli import main
assert main(["look", sys.argv[1], "--modality", "thermal", "--out", sys.argv[2]]) == 0
print(sorted({"torch", "onnx", "jinja2", "matplotlib"} & sys.modules.keys()))
"""


def test_a_picture_loads_nothing_heavy(tmp_path: Path) -> None:
    file = FILES["thermal"][0](tmp_path)
    command = [sys.executable, "-c", LIGHT, str(file), str(tmp_path / "look.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


HOSTILE = "<script>alert(1)<!-- \"'><img src=x onerror=alert(1)>"


def test_names_and_contents_of_files_are_escaped(look: Look, tmp_path: Path) -> None:
    named = tmp_path / HOSTILE.replace("/", "")
    seen = look(picture(np.zeros((8, 8), np.uint8), tmp_path / "x.png").rename(named), "--modality", "image")
    assert HOSTILE in seen["page"].words
    assert not {"script", "img"} & set(seen["page"].tags)
    table = tmp_path / f"{HOSTILE}.csv"
    table.write_text(f"t,{HOSTILE},ay\n1,2,3\n")
    refused = look(table, "--modality", "imu", code=2)
    assert not {"script", "img"} & set(refused["page"].tags)
    assert refused["page"].open == []


def test_a_bundle_brings_sensor_settings_and_eps(make_bundle: BundleMaker, look: Look, tmp_path: Path) -> None:
    bundle = make_bundle(Linear.random(thermal(8).with_settings({"kelvin_per_count": "flir-tlinear-high"})))
    counts = np.rint(KELVIN / 0.04).astype(np.uint16)
    seen = look(picture(counts, tmp_path / "x.png"), "--bundle", str(bundle.path))
    assert seen["x"]["shape"].startswith("1 x 8 x 8")
    assert seen["settings"]["kelvin_per_count"] == {"value": "flir-tlinear-high: 0.04", "origin": "bundle"}
    assert numbers(seen["measured"]["range"]) == pytest.approx([KELVIN.min() - 273.15, KELVIN.max() - 273.15], abs=0.05)
    assert str(bundle.threat) in seen["x"]["eps"]


def test_what_is_there_is_kept_unless_look_wrote_it(tmp_path: Path, capsys: Capture) -> None:
    file = FILES["image"][0](tmp_path)
    before = file.read_bytes()
    assert main(["look", str(file), "--modality", "image", "--out", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert file.read_bytes() == before
    for name in ("page.html", "page.png"):
        for word in ("wrote", "replaced"):
            assert main(["look", str(file), "--modality", "image", "--out", str(tmp_path / name)]) == 0
            assert f"{word} {tmp_path / name}" in capsys.readouterr().err


@pytest.mark.parametrize("modality", ["thermal", "imu", "point", "video"])
def test_a_picture_needs_no_templates(
    modality: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in ("jinja2", "markupsafe"):
            raise ModuleNotFoundError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    file, out = FILES[modality][0](tmp_path), tmp_path / "look.png"
    assert main(["look", str(file), "--modality", modality, "--out", str(out)]) == 0
    drawn = cv2.imread(str(out))
    assert drawn is not None
    assert drawn.shape[1] == 1000
    assert len(np.unique(drawn @ np.array([1, 256, 65536]))) > 50
    capsys.readouterr()
    assert main(["look", str(file), "--modality", modality, "--out", str(tmp_path / "look.html")]) == 2
    assert "--out look.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "neither `--modality` nor `--bundle`"),
        (("--modality", "smell"), "unknown"),
        (("--modality", "image", "--set", "train.epochs=8"), "unknown setting `train`"),
        (("--modality", "image", "--set", "input.depth_scale=mm"), "has no setting `depth_scale`"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], message: str, tmp_path: Path, capsys: Capture) -> None:
    file = FILES["image"][0](tmp_path)
    assert main(["look", str(file), *arguments, "--out", str(tmp_path / "page.html")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
