"""Folders of weights: shards and a hub's cache are read, and nothing in them leads out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save_file
from torch import Tensor

from advcal_edge.encoders.checkpoint import digest, read_checkpoint, read_tensors
from advcal_edge.encoders.weights_folder import find_weights, member, open_place, read_index
from advcal_edge.errors import InputError

TENSORS = {f"block.{i}": torch.full((3, 2), float(i)) for i in range(6)}
INDEX = "model.safetensors.index.json"


def anything(name: str) -> bool:
    return True


def shards(folder: Path, count: int = 3, ending: str = "safetensors") -> dict[str, str]:
    """Write the tensors in turn to `count` files, and the index; returns its map."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {name: f"model-{i % count + 1:05}-of-{count:05}.{ending}" for i, name in enumerate(TENSORS)}
    for place in set(places.values()):
        part = {name: TENSORS[name] for name in places if places[name] == place}
        if ending == "bin":
            torch.save(part, folder / place)
        else:
            save_file(part, folder / place)
    write_index(folder, places)
    return places


def write_index(folder: Path, places: object) -> Path:
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 144}, "weight_map": places}))
    return folder / INDEX


def cache(root: Path, revisions: tuple[str, ...] = ("0a1b",), main: str | None = "0a1b") -> Path:
    """A hub's cache of one model: links from snapshots to blobs."""
    model = root / "models--someone--something"
    (model / "blobs").mkdir(parents=True)
    save_file(TENSORS, model / "blobs" / "77")
    for revision in revisions:
        (model / "snapshots" / revision).mkdir(parents=True)
        (model / "snapshots" / revision / "model.safetensors").symlink_to("../../blobs/77")
    if main is not None:
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text(main)
    return model


def read(folder: Path) -> dict[str, Tensor]:
    return read_tensors(find_weights(open_place(folder)), anything)


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_are_one_checkpoint(ending: str, tmp_path: Path) -> None:
    shards(tmp_path, ending=ending)
    found = read_checkpoint(find_weights(tmp_path), lambda name: name != "block.3")
    assert digest(found.tensors) == digest({name: t for name, t in TENSORS.items() if name != "block.3"})
    assert found.notes == ()


def test_missing_shards_are_named(tmp_path: Path) -> None:
    shards(tmp_path)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InputError, match=r"1 of the 3 shards of .* are not there: `model-00002-of-00003") as caught:
        read(tmp_path)
    assert caught.value.hint


def test_a_shard_without_what_the_index_places_there(tmp_path: Path) -> None:
    places = shards(tmp_path)
    write_index(tmp_path, {**places, "block.9": places["block.0"]})
    with pytest.raises(InputError, match=r"lacks what its index places there: `block.9`"):
        read(tmp_path)


NAMES = st.one_of(
    st.sampled_from(
        ["../x.bin", "/etc/passwd", "a/b.bin", "..", ".bin", "x.pkl", "x.safetensors.index.json", "a\\b.bin"]
    ),
    st.text(max_size=12),
    st.none(),
    st.integers(),
    st.lists(st.text(max_size=3), max_size=2),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(name=NAMES)
def test_an_index_of_anything_ends_in_words(name: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder.parent / "x.bin").write_bytes(b"PK")
    with pytest.raises(InputError) as caught:
        read_index(write_index(folder, {"block.0": name}))
    assert caught.value.hint


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', "{", '{"weight_map": 1}'])
def test_what_is_no_index(content: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    assert caught.value.hint


def test_links_of_shards_stay_in_their_folder(tmp_path: Path) -> None:
    places = shards(tmp_path / "F")
    shard = tmp_path / "F" / places["block.0"]
    shard.rename(tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"is a link to .*elsewhere`, out of its folder"):
        read(tmp_path / "F")
    shard.unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "F" / "real")
    shard.symlink_to("real")
    assert digest(read(tmp_path / "F")) == digest(TENSORS)


@pytest.mark.parametrize("name", ["model.safetensors", INDEX])
def test_links_in_a_circle(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(name)
    with pytest.raises(InputError, match=r"leads nowhere|there is no file"):
        read(tmp_path)


def test_a_cache_leads_to_its_snapshot(tmp_path: Path) -> None:
    model = cache(tmp_path, ("0a1b", "9f8e"))
    assert open_place(model) == model / "snapshots" / "0a1b"
    assert digest(read(model)) == digest(read(model / "snapshots" / "9f8e")) == digest(TENSORS)
    assert open_place(tmp_path) == tmp_path
    assert digest(read(cache(tmp_path / "other", ("0a1b",), None))) == digest(TENSORS)


@pytest.mark.parametrize("main", ["", "..", "../..", "/etc", "a/b", ".", "0a1b\n9f8e", "x" * 100, "nothing"])
def test_what_a_cache_calls_main_is_one_of_its_snapshots(main: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_place(cache(tmp_path, main=main))
    assert caught.value.hint


def test_a_cache_of_several_snapshots_without_main(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds `0a1b`, `9f8e`, and no `refs/main` says which") as caught:
        open_place(cache(tmp_path, ("0a1b", "9f8e"), None))
    assert "snapshots/0a1b" in str(caught.value.hint)
    empty = tmp_path / "models--a--b"
    (empty / "snapshots").mkdir(parents=True)
    with pytest.raises(InputError, match="holds nothing"):
        open_place(empty)


def test_links_of_a_snapshot_lead_to_its_own_blobs_alone(tmp_path: Path) -> None:
    model, other = cache(tmp_path / "one"), cache(tmp_path / "two")
    path = model / "snapshots" / "0a1b" / "model.safetensors"
    for target in (other / "blobs" / "77", Path("../../refs/main"), Path("../../../../one")):
        path.unlink()
        path.symlink_to(target)
        with pytest.raises(InputError, match="out of its folder"):
            read(model)
    away = tmp_path / "plain" / "snapshots" / "0a1b"
    away.mkdir(parents=True)
    (tmp_path / "plain" / "blobs").mkdir()
    save_file(TENSORS, tmp_path / "plain" / "blobs" / "77")
    os.symlink("../../blobs/77", away / "model.safetensors")
    with pytest.raises(InputError, match="out of its folder"):  # no cache: `models--` is not in front
        member(away, "model.safetensors")


def test_a_snapshot_that_is_a_link(tmp_path: Path) -> None:
    model = cache(tmp_path / "one")
    (model / "snapshots" / "0a1b").rename(tmp_path / "elsewhere")
    (model / "snapshots" / "0a1b").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="has no folder `snapshots/0a1b`"):
        open_place(model)
