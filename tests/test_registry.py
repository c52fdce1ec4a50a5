"""Unknown names get the nearest known one; encoders are found by name, by entry point and by import path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from advcal_edge.errors import ConfigError
from advcal_edge.registry import ENCODERS, choose, find_encoder


def test_nearest_match() -> None:
    with pytest.raises(ConfigError, match="unknown encoder `bindlight`; expected one of: `bindlite`") as caught:
        find_encoder("bindlight")
    assert caught.value.hint == "did you mean `bindlite`?"


def test_known_names() -> None:
    assert choose("number", "one", {"one": 1}) == 1
    assert find_encoder("bindlite").__self__.__name__ == "Bindlite"


@pytest.mark.parametrize("name", ENCODERS)
def test_every_built_in_encoder_can_be_imported(name: str) -> None:
    assert callable(find_encoder(name))


def test_an_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sonar_and_lidar.py").write_text("def lidar(modality, weights):\n    return modality, weights\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_encoder("sonar_and_lidar:lidar")("point", None) == ("point", None)
    with pytest.raises(ConfigError, match=r"`sonar_and_lidar:sonar`: .*no attribute 'sonar'"):
        find_encoder("sonar_and_lidar:sonar")


def test_an_import_path_that_leads_nowhere() -> None:
    with pytest.raises(ConfigError, match=r"`nowhere\.to\.be:found` cannot be imported"):
        find_encoder("nowhere.to.be:found")


def test_what_an_encoder_lacks_is_not_taken_for_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_there"):
        find_encoder("needy:factory")


def test_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "from_a_package.py").write_text("def make(modality, weights):\n    return 'made'\n")
    info = tmp_path / "from_a_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: from-a-package\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[advcal_edge.encoders]\nsonar = from_a_package:make\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_encoder("sonar")("sonar", None) == "made"
    sys.modules.pop("from_a_package")
