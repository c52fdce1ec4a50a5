"""MSR-VTT and UCF-101: films, their categories and their splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from miniature import calibrate, counts, draw, names, write, write_frames

from advcal_edge.bundle import Bundle
from advcal_edge.errors import InputError


def film(number: int, split: str, category: int) -> dict[str, Any]:
    return {"id": number, "video_id": f"video{number}", "category": category, "split": split, "start time": 1.5,
            "end time": 3.5, "url": "https://www.youtube.com/watch?v=x"}  # fmt: skip


def write_msrvtt(root: Path, train: str = "TrainValVideo", test: str = "TestVideo") -> Path:
    films = [film(0, "train", 9), film(1, "train", 3), film(2, "validate", 3), film(3, "test", 9), film(4, "test", 3)]
    for name, own, folder in (("train_val", films[:3], train), ("test", films[3:], test)):
        write_frames((root / folder / f"{each['video_id']}.mp4" for each in own), first=own[0]["id"])
        sentences = [{"caption": "a car", "video_id": each["video_id"], "sen_id": 0} for each in own]
        write(root / f"{name}_videodatainfo.json", json.dumps({"videos": own, "sentences": sentences}))
    return root


def write_ucf101(root: Path, labels: tuple[str, ...] = ("ApplyEyeMakeup", "YoYo"), each: int = 2) -> Path:
    """Group 1 is tested in split 1, group 2 in split 2; lines end as on Windows."""
    films = {label: [[f"{label}/v_{label}_g0{g}_c0{c}.avi" for c in range(each)] for g in (1, 2)] for label in labels}
    write_frames(root / "UCF-101" / path for groups in films.values() for group in groups for path in group)
    for split in (1, 2):
        test = [path for groups in films.values() for path in groups[split - 1]]
        train = [f"{path} {place}" for place, g in enumerate(films.values(), 1) for path in g[2 - split]]
        write(root / f"ucfTrainTestlist/trainlist0{split}.txt", "\r\n".join(train) + "\r\n")
        write(root / f"ucfTrainTestlist/testlist0{split}.txt", "\r\n".join(test) + "\r\n")
    write(root / "ucfTrainTestlist/classInd.txt", "".join(f"{k} {label}\r\n" for k, label in enumerate(labels, 1)))
    return root


@pytest.mark.parametrize(
    "folders", [("TrainValVideo", "TestVideo"), ("videos", "videos"), ("videos/all", "videos/all")]
)
def test_msrvtt(folders: tuple[str, str], tmp_path: Path) -> None:
    drawn = draw("msrvtt", write_msrvtt(tmp_path, *folders))
    assert counts(drawn) == 2 * ({"sports/actions": 1, "vehicles/autos": 1},)
    assert names(drawn) == ["video3.mp4", "video4.mp4"]
    assert names(drawn, "train") == ["video0.mp4", "video1.mp4"]


def test_ucf101(tmp_path: Path) -> None:
    drawn = draw("ucf101", write_ucf101(tmp_path))
    assert counts(drawn) == 2 * ({"Apply Eye Makeup": 2, "Yo Yo": 2},)
    assert {name.split("_")[2] for name in names(drawn)} == {"g01"}
    assert {name.split("_")[2] for name in names(draw("ucf101", tmp_path, fold=2))} == {"g02"}
    with pytest.raises(InputError, match=r"cannot read .*trainlist03\.txt"):
        draw("ucf101", tmp_path, fold=3)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"videos": [{**film(0, "train", 3), "video_id": "../../x"}]}, "entry 1: '../../x.mp4' leaves the folder"),
        ({"videos": [{**film(0, "train", 3), "video_id": 7}]}, "`video_id` is 7"),
        ({"videos": [{**film(0, "train", 3), "category": "3"}]}, "`category` is '3'"),
        ({"videos": [film(0, "train", 20)]}, "found '20'; expected a whole number from 0 to 19"),
        ({"videos": [film(0, "train", -1)]}, "found '-1'"),
        ({"videos": [3]}, "`category` is None"),
        ({"videos": {}}, "has no list `videos`"),
        ([], "has no list `videos`"),
        ({"videos": []}, "sample of .* is to train with|no readable"),
    ],
)
def test_broken_documents(document: object, found: str, tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    write(tmp_path / "train_val_videodatainfo.json", json.dumps(document))
    with pytest.raises(InputError, match=found):
        draw("msrvtt", tmp_path)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("../a.avi 1", "leaves the folder"),
        ("/a/b.avi", "leaves the folder"),
        ("a.avi 1", "names no film below a class"),
    ],
)
def test_broken_lists(line: str, found: str, tmp_path: Path) -> None:
    write_ucf101(tmp_path)
    write(tmp_path / "ucfTrainTestlist/trainlist01.txt", f"YoYo/v_YoYo_g02_c00.avi 2\n{line}\n")
    with pytest.raises(InputError, match=f"entry 2: .*{found}"):
        draw("ucf101", tmp_path)


def test_a_film_of_the_list_that_is_missing(tmp_path: Path) -> None:
    write_msrvtt(tmp_path)
    (tmp_path / "TestVideo/video3.mp4").unlink()
    with pytest.raises(InputError, match=r"(?s)1 of 2 files.*video3.mp4"):
        draw("msrvtt", tmp_path)


def test_a_calibration(tmp_path: Path) -> None:
    write_ucf101(tmp_path / "U", ("car", "dog"), each=4)
    calibrate("video", "ucf101", tmp_path / "U", tmp_path / "B")
    assert Bundle.open(tmp_path / "B").centers().labels == ("dog", "car")
