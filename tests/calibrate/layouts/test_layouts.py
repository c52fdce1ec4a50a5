"""The names of layouts, folders of another arrangement, and settings that contradict a layout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from miniature import SENSORS, write, write_frames

from advcal_edge import configure
from advcal_edge.calibrate.data.folder import load_folder
from advcal_edge.calibrate.data.layouts import LAYOUTS, find_layout
from advcal_edge.cli import main
from advcal_edge.errors import ConfigError, InputError

DOCS = Path(__file__).parents[3] / "docs" / "calibrate.md"


def test_every_layout_is_in_the_help_and_in_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    main(["calibrate", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    rows = re.findall(r"^\| `([a-z0-9]+)` \| ([a-z]+) \|", DOCS.read_text(), re.MULTILINE)
    assert dict(rows) == {name: layout.modality for name, layout in LAYOUTS.items()}
    for name, layout in LAYOUTS.items():
        assert f"`{name}`" in told
        assert layout.forms
        assert layout.modality in SENSORS


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_another_folder_is_refused(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    write(tmp_path / "readme.txt", "hello")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(InputError) as caught:
        layout.read(tmp_path)
    assert f"`{tmp_path}` holds `pictures/`, `readme.txt`; expected {layout.title}: " in caught.value.message
    assert layout.forms[0].needs[0] in caught.value.message
    assert "docs/calibrate.md#public-data-sets" in str(caught.value.hint)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path / "meta" / "esc50.csv", "filename,fold,category\n")
    with pytest.raises(InputError, match="; `audio` is missing"):
        LAYOUTS["esc50"].read(tmp_path)
    for place in range(12):
        write(tmp_path / f"{place}.txt", "")
    with pytest.raises(InputError, match="and 5 more; expected"):
        LAYOUTS["esc50"].read(tmp_path)


def test_the_folder_inside_is_named(tmp_path: Path) -> None:
    write(tmp_path / "ESC-50-master" / "meta" / "esc50.csv", "")
    (tmp_path / "ESC-50-master" / "audio").mkdir()
    with pytest.raises(InputError) as caught:
        LAYOUTS["esc50"].read(tmp_path)
    assert caught.value.hint == f"give the folder inside: `--data {tmp_path / 'ESC-50-master'}`"
    with pytest.raises(InputError) as caught:
        LAYOUTS["urbansound8k"].read(tmp_path / "ESC-50-master")
    assert caught.value.hint == "this looks like ESC-50: `--layout esc50`"


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder(name: str, tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    with pytest.raises(InputError, match="is no folder; expected the folder of LLVIP"):
        LAYOUTS["llvip"].read(tmp_path / name)


def test_classes_of_a_folder_that_is_a_published_set(tmp_path: Path) -> None:
    write_frames(tmp_path / side / "n00000001" / "0.png" for side in ("train", "val"))
    with pytest.raises(InputError, match="`train`, for which the encoder has no center") as caught:
        load_folder(tmp_path, SENSORS["image"], ("cat", "dog"), skip_bad=False)
    assert caught.value.hint == "this looks like ImageNet-1K: `--layout imagenet`"
    with pytest.raises(InputError) as caught:
        load_folder(tmp_path, SENSORS["thermal"], ("cat", "dog"), skip_bad=False)
    assert f"--data {tmp_path / 'train'}" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"layout": "imagenet"}, "`--layout imagenet` holds frames of `image`; `--modality` is `audio`"),
        ({"layout": "esc5"}, "unknown layout `esc5`"),
        ({"layout": "esc50", "path": None}, "`--layout` says how `--data` is arranged"),
        ({"layout": "esc50", "fold": 6}, "`data.fold` is 6; expected 1 to 5"),
        ({"layout": "esc50", "fold": 0}, "`data.fold` is 0"),
        ({"fold": 1}, "`data.fold` needs a public data set"),
        ({"layout": "esc50", "pairs": "image"}, "`--layout esc50` does not have; expected no other sensor"),
        ({"layout": "esc50", "tuning": True}, "`data.tuning` chooses among built-in samples"),
    ],
)
def test_settings_that_contradict_a_layout(data: dict[str, object], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        configure(modality="audio", data={"path": "ESC-50", **data})


def test_settings_that_fit() -> None:
    assert configure(modality="audio", data={"path": "E", "layout": "esc50", "fold": 2}).data.fold == 2
    assert configure(modality="thermal", data={"path": "L", "layout": "llvip", "pairs": "image"}).data.pairs == "image"
    with pytest.raises(ConfigError, match="expected `image`"):
        configure(modality="thermal", data={"path": "L", "layout": "llvip", "pairs": "audio"})
    with pytest.raises(ConfigError, match="ImageNet-1K is not published in folds"):
        configure(modality="image", data={"path": "I", "layout": "imagenet", "fold": 1})


def test_labels_without_a_calibration(tmp_path: Path) -> None:
    """As the documentation lists them, to make centers of."""
    table = "filename,fold,target,category\na.wav,1,0,crying_baby\nb.wav,5,1,dog\n"
    write(tmp_path / "meta" / "esc50.csv", table)
    (tmp_path / "audio").mkdir()
    assert find_layout("esc50").read(tmp_path).labels == ("crying baby", "dog")


def test_the_command_line_says_what_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["calibrate", "--modality", "audio", "--data", str(tmp_path), "--layout", "esc50", "--out", "B"]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert f"on data `{tmp_path}` as `esc50`" in told
    assert "holds nothing; expected ESC-50: `meta/esc50.csv` and `audio`" in told
