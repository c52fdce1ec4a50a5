"""ESC-50 and UrbanSound8K: folds, labels, and tables that name what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniature import calibrate, counts, draw, names, write, write_frames

from advcal_edge.bundle import Bundle
from advcal_edge.errors import InputError

HEADER = "filename,fold,target,category,esc10,src_file,take\n"


def write_esc50(root: Path, labels: tuple[str, ...] = ("dog", "crying_baby"), each: int = 1) -> Path:
    """Five folds, each with `each` recordings of every class."""
    rows = [
        (f"{fold}-{place}{take}-A-{place}.wav", fold, place, label)
        for fold in range(1, 6)
        for place, label in enumerate(labels)
        for take in range(each)
    ]
    write_frames(root / "audio" / name for name, *_ in rows)
    lines = "".join(f"{name},{fold},{place},{label},False,1,A\n" for name, fold, place, label in rows)
    write(root / "meta/esc50.csv", HEADER + lines)
    return root


def write_urbansound(root: Path) -> Path:
    rows = [(f"{fold}{place}-3-0-0.wav", fold, place) for fold in range(1, 11) for place in (1, 3)]
    write_frames(root / f"audio/fold{fold}" / name for name, fold, _ in rows)
    classes = {1: "car_horn", 3: "dog_bark"}
    lines = "".join(f"{name},1,0,0.3,1,{fold},{place},{classes[place]}\n" for name, fold, place in rows)
    write(root / "metadata/UrbanSound8K.csv", "slice_file_name,fsID,start,end,salience,fold,classID,class\n" + lines)
    return root


def test_esc50(tmp_path: Path) -> None:
    drawn = draw("esc50", write_esc50(tmp_path))
    assert counts(drawn) == ({"crying baby": 4, "dog": 4}, {"crying baby": 1, "dog": 1})
    assert names(drawn) == ["5-00-A-0.wav", "5-10-A-1.wav"]


@pytest.mark.parametrize("fold", [1, 3])
def test_another_fold(fold: int, tmp_path: Path) -> None:
    assert names(draw("esc50", write_esc50(tmp_path), fold=fold)) == [f"{fold}-00-A-0.wav", f"{fold}-10-A-1.wav"]


def test_urbansound8k(tmp_path: Path) -> None:
    drawn = draw("urbansound8k", write_urbansound(tmp_path))
    assert counts(drawn) == ({"car horn": 9, "dog bark": 9}, {"car horn": 1, "dog bark": 1})
    assert names(drawn) == ["101-3-0-0.wav", "103-3-0-0.wav"]
    assert names(draw("urbansound8k", tmp_path, fold=2)) == ["21-3-0-0.wav", "23-3-0-0.wav"]


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("filename,fold\n", "expected `filename`, `fold`, `category`"),
        ("", "has the columns none; expected"),
        (HEADER + "../../x.wav,1,0,dog,False,1,A\n", "entry 2: 'audio/../../x.wav' leaves the folder"),
        (HEADER + "a\\..\\x.wav,1,0,dog,False,1,A\n", "leaves the folder"),
        (HEADER + "a.wav,6,0,dog,False,1,A\n", "found '6'; expected a whole number from 1 to 5"),
        (HEADER + "a.wav,one,0,dog,False,1,A\n", "found 'one'"),
        (HEADER + "a.wav,1,0,,False,1,A\n", "expected a value for filename, fold, category"),
        (HEADER + "a.wav,1,0\n", "entry 2: expected a value"),
        (HEADER + "a.wav,1,0,d\x1b[2Jog,False,1,A\n", "printable characters"),
        (HEADER + f"a.wav,1,0,{'d' * 300},False,1,A\n", "printable characters"),
        (HEADER + "a.wav,1,0,dog,False,1,A\n", "holds 1 class"),
        (HEADER + f"{'a' * 70_000}\n", "a line of more than 65536 bytes"),
        (HEADER + '"' + "a,\n" * 100_000, "field larger than field limit"),
    ],
)
def test_broken_tables(table: str, found: str, tmp_path: Path) -> None:
    write_esc50(tmp_path)
    (tmp_path / "meta/esc50.csv").write_text(table)
    with pytest.raises(InputError, match=found) as caught:
        draw("esc50", tmp_path)
    assert caught.value.hint


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    write_esc50(tmp_path)
    (tmp_path / "meta/esc50.csv").write_bytes(b"filename,fold,category\n\xff\xfe,1,dog\n")
    with pytest.raises(InputError, match=r"cannot read .*esc50\.csv"):
        draw("esc50", tmp_path)


def test_a_calibration(tmp_path: Path) -> None:
    write_esc50(tmp_path / "ESC-50", ("dog", "hot_machine"), each=3)
    calibrate("audio", "esc50", tmp_path / "ESC-50", tmp_path / "B")
    bundle = Bundle.open(tmp_path / "B")
    section = bundle.section("data")
    assert (section["layout"], section["copies"], section["train"], section["held_out"]) == ("esc50", 0, 8, 6)
    assert bundle.centers().labels == ("dog", "hot machine")
    assert bundle.section("config")["data"]["layout"] == "esc50"
