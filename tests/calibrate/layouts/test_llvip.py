"""LLVIP as persons and background: squares that show a person, squares that touch none, and their partners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from miniature import SENSORS, calibrate, counts, draw, write
from numpy.typing import NDArray

from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.data.layouts.listing import Box
from advcal_edge.centers import Centers
from advcal_edge.encoders.bindlite import Bindlite
from advcal_edge.errors import InputError

WIDTH, HEIGHT = 120, 100
BOXES: Sequence[Box] = ((10, 10, 20, 40), (60, 50, 90, 70))


def annotation(boxes: Sequence[Box], width: int = WIDTH, height: int = HEIGHT, name: str = "person") -> str:
    objects = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for box in boxes
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><folder>LLVIP</folder><filename>a.jpg</filename>{size}{objects}</annotation>"


def picture(boxes: Sequence[Box], seed: int, sensor: str) -> NDArray[Any]:
    """Dark noise, with bright persons."""
    noise = np.random.default_rng([seed, len(sensor)]).integers(0, 60, (HEIGHT, WIDTH), np.uint8)
    for left, top, right, bottom in boxes:
        noise[top:bottom, left:right] += 150
    return np.stack([noise] * 3, axis=2)


def write_llvip(root: Path, boxes: Sequence[Box] = BOXES, each: int = 3) -> Path:
    for place in range(2 * each):
        side, name = ("train", "test")[place // each], f"{place:06}"
        for sensor in ("infrared", "visible"):
            data = cv2.imencode(".png", picture(boxes, place, sensor))[1].tobytes()
            write(root / sensor / side / f"{name}.png", data)
        write(root / "Annotations" / f"{name}.xml", annotation(boxes))
    return root


def test_persons_and_as_much_background(tmp_path: Path) -> None:
    drawn = draw("llvip", write_llvip(tmp_path))
    assert counts(drawn) == 2 * ({"background": 6, "person": 6},)
    for frame, label in zip(drawn.train.frames, drawn.train.labels, strict=True):
        assert isinstance(frame, np.ndarray)
        assert frame.shape in ((30, 30, 3), (30, 30))
        assert (frame.max() > 150) == (label == 1), "a person is seen, and only in frames of that class"
    shares = [
        (frame > 100).mean() for frame, label in zip(drawn.train.frames, drawn.train.labels, strict=True) if label
    ]
    np.testing.assert_allclose(sorted(set(np.round(shares, 2))), [1 / 3, 2 / 3], atol=0.01)  # whole, and with room


def test_the_same_frames_each_time(tmp_path: Path) -> None:
    first, second = (draw("llvip", write_llvip(tmp_path)) for _ in range(2))
    assert first.train.frames.boxes == second.train.frames.boxes
    moved = draw("llvip", write_llvip(tmp_path / "elsewhere"))
    assert moved.train.frames.boxes == first.train.frames.boxes


def test_partners_are_the_same_crops_of_the_visible_pictures(tmp_path: Path) -> None:
    drawn = draw("llvip", write_llvip(tmp_path), pairs="image")
    samples = drawn.held_out
    assert (samples.partner, len(samples.partners)) == ("image", len(samples))
    for frame, partner, path, box in zip(
        samples.frames, samples.partners, samples.frames.paths, samples.frames.boxes, strict=True
    ):
        left, top, right, bottom = box
        seed = int(path.stem)
        np.testing.assert_array_equal(frame, picture(BOXES, seed, "infrared")[top:bottom, left:right])
        np.testing.assert_array_equal(partner, picture(BOXES, seed, "visible")[top:bottom, left:right])
    assert draw("llvip", tmp_path).held_out.partners is None


def test_what_the_published_annotations_have(tmp_path: Path) -> None:
    """Boxes without area, boxes at the edge, pictures of nobody, and a crowd that leaves no room."""
    write_llvip(tmp_path)
    boxes = ((5, 5, 5, 30), (-4, 80, 8, 130), (200, 0, 210, 50))
    write(tmp_path / "Annotations/000000.xml", annotation(boxes))
    write(tmp_path / "Annotations/000001.xml", annotation(()))
    write(tmp_path / "Annotations/000002.xml", annotation(((0, 0, WIDTH, HEIGHT),)))
    drawn = draw("llvip", tmp_path)
    assert counts(drawn)[0] == {"background": 1, "person": 2}
    assert {box[2] - box[0] for box in drawn.train.frames.boxes} == {20, 100}
    write(tmp_path / "Annotations/000000.xml", annotation(BOXES, name="car"))
    assert counts(draw("llvip", tmp_path, ("person", "background")))[0] == {"person": 1, "background": 0}


def test_annotations_that_do_not_fit(tmp_path: Path) -> None:
    write_llvip(tmp_path)
    write(tmp_path / "Annotations/000000.xml", annotation(((900, 900, 950, 990),), 1280, 1024))
    with pytest.raises(InputError, match=r"000000.png` is \(100, 120, 3\); expected .* pixels or more"):
        draw("llvip", tmp_path)
    write(tmp_path / "Annotations/000000.xml", annotation(BOXES, 0, 0))
    with pytest.raises(InputError, match="says that a picture is 0 x 0"):
        draw("llvip", tmp_path)
    (tmp_path / "Annotations/000000.xml").unlink()
    with pytest.raises(InputError, match=r"cannot read .*000000.xml"):
        draw("llvip", tmp_path)


def test_a_missing_partner(tmp_path: Path) -> None:
    write_llvip(tmp_path)
    (tmp_path / "visible/test/000003.png").unlink()
    with pytest.raises(InputError, match=r"(?s)4 of 12 files.*visible/test/000003.png"):
        draw("llvip", tmp_path, pairs="image")
    assert len(draw("llvip", tmp_path).held_out) == 12


def test_selections_stay_on_disk(tmp_path: Path) -> None:
    drawn = draw("llvip", write_llvip(tmp_path), pairs="image")
    taken = drawn.train.take(np.array([3, 1]))
    assert taken.frames.boxes == tuple(drawn.train.frames.boxes[place] for place in (3, 1))
    assert taken.frames[:1].paths == (drawn.train.frames.paths[3],)
    assert taken.frames.modality == SENSORS["thermal"]
    np.testing.assert_array_equal(taken.partners[1], drawn.train.partners[1])


def test_a_calibration(tmp_path: Path) -> None:
    write_llvip(tmp_path / "L")
    given = Bindlite.load("thermal").centers()
    rows = [given.labels.index(label) for label in ("person", "empty scene")]
    centers = Centers(("person", "background"), given.vectors[rows], given.temperature, "test")
    write(tmp_path / "centers.safetensors", centers.to_bytes())
    flags = ("--pairs", "image", "--centers", str(tmp_path / "centers.safetensors"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADVCAL_MAX_PIXELS", str(WIDTH * HEIGHT))
        calibrate("thermal", "llvip", tmp_path / "L", tmp_path / "B", *flags)
    bundle = Bundle.open(tmp_path / "B")
    assert bundle.section("data")["partner"] == "image"
    assert bundle.probe().partner is not None
