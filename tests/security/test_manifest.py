"""Every field of a manifest, poisoned in turn, is refused when the bundle is opened; the message names it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hostile import ANYWHERE, OPEN, SECTIONS, look, places, poisoned, write_manifest, wrong_types

from advcal_edge.bundle import MANIFEST, Bundle
from advcal_edge.errors import BundleError


def refusal(bundle: Bundle, manifest: Any) -> str:
    """Why a manifest is refused; it must be."""
    with pytest.raises(BundleError) as caught:
        Bundle.open(write_manifest(bundle, manifest))
    return caught.value.message


def test_the_whole_manifest_is_taken_and_leaves_no_section_untried(whole: Bundle) -> None:
    assert Bundle.open(whole.path).manifest.keys() == {
        *SECTIONS, "schema", "files", "modality", "threat", "graphs", "sections",
    }  # fmt: skip


def test_values_that_no_field_may_have(whole: Bundle) -> None:
    manifest = json.loads((whole.path / MANIFEST).read_text())
    tried = 0
    for place in places(manifest):
        for value in ANYWHERE.values():
            assert str(whole.path) in refusal(whole, poisoned(manifest, place, value))
            tried += 1
    assert tried > 800


def test_values_of_another_type(whole: Bundle) -> None:
    manifest = json.loads((whole.path / MANIFEST).read_text())
    tried = 0
    for place in places(manifest):
        if any(key in OPEN for key in place[:-1]):
            continue
        for value in wrong_types(look(manifest, place)):
            if value is None and place == ("data", "license"):
                continue  # not every data set says
            if value == 0.5 and place[-1] == "kelvin_per_count":
                continue  # the name of a number, or a number
            if value == {} and place[-1] in ("before", "after", "recall", "clean", "forward"):
                continue  # nothing was measured: an honest bundle may say so
            words = refusal(whole, poisoned(manifest, place, value))
            assert str(place[0]) in words, (place, value, words)
            tried += 1
    assert tried > 500


def test_missing_and_unknown_fields(whole: Bundle) -> None:
    manifest = json.loads((whole.path / MANIFEST).read_text())
    required = 0
    for place in places(manifest):
        if not isinstance(place[-1], str) or any(key in OPEN for key in place[:-1]):
            continue
        parent = look(manifest, place[:-1])
        odd = poisoned(manifest, place, parent[place[-1]])
        del look(odd, place[:-1])[place[-1]]
        write_manifest(whole, odd)
        try:
            Bundle.open(whole.path)
        except BundleError as error:
            required += "is missing" in error.message
    assert required > 40
    assert "unknown field `plugins`" in refusal(whole, {**manifest, "plugins": ["canary"]})
    with pytest.raises(BundleError) as caught:
        Bundle.open(write_manifest(whole, {**manifest, "thread": {}}))
    assert caught.value.hint == "did you mean `threat`?"


@pytest.mark.parametrize(
    ("section", "field", "value", "words"),
    [
        ("encoder", "name", "import os", "the name of an encoder, `family:MODEL` or `package.module:factory`"),
        ("encoder", "name", "../x:y", "the name of an encoder"),
        ("encoder", "modality", "__import__('os').system('id')", "the name of a sensor"),
        ("encoder", "modality", "image", "expected `thermal`, as `modality.name` says"),
        ("encoder", "weights_sha256", "A" * 64, "64 hexadecimal digits"),
        ("threat", "bounds", [0.0, 2.0], "as `modality.input.bounds` says"),
        ("threat", "norm", "l7", "unknown norm"),
        ("threat", "eps", -1, "eps must lie"),
        ("modality", "bit_depth", 2**40, "bit_depth"),
        ("seed", None, 2**70, "64 bits"),
    ],
)
def test_values_that_would_do_harm(whole: Bundle, section: str, field: str | None, value: Any, words: str) -> None:
    manifest = json.loads((whole.path / MANIFEST).read_text())
    assert words in refusal(whole, poisoned(manifest, (section, field) if field else (section,), value))


def test_an_input_larger_than_memory(whole: Bundle) -> None:
    manifest = json.loads((whole.path / MANIFEST).read_text())
    huge = poisoned(manifest, ("modality", "input", "shape"), [2**20, 2**20])
    assert "expected at most 67,108,864" in refusal(whole, huge)


def test_a_link_or_a_pipe_in_place_of_the_manifest(whole: Bundle, tmp_path: Path) -> None:
    import os

    path = whole.path / MANIFEST
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(BundleError, match="is a link; expected a file"):
        Bundle.open(whole.path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BundleError, match="is a pipe"):
        Bundle.open(whole.path)


def test_a_manifest_larger_than_the_limit_is_not_read(whole: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVCAL_MAX_MANIFEST_BYTES", "1000")
    with pytest.raises(BundleError, match=re.escape("expected at most 1,000")) as caught:
        Bundle.open(whole.path)
    assert "ADVCAL_MAX_MANIFEST_BYTES" in str(caught.value.hint)


def test_labels_that_the_centers_do_not_have(whole: Bundle) -> None:
    manifest = json.loads((whole.path / MANIFEST).read_text())
    write_manifest(whole, poisoned(manifest, ("centers", "labels"), ["car", "cat", "cup", "stop sign"]))
    with pytest.raises(BundleError, match="name different labels"):
        Bundle.open(whole.path).centers()


def test_a_file_that_never_ends_is_refused_by_its_size(whole: Bundle) -> None:
    with (whole.path / "probe.npz").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(BundleError, match="was changed or truncated: it has 1099511627776 bytes"):
        whole.file("probe.npz")
