"""Samples paired with another sensor's: recall in the table and in the bundle, and every way to pair them wrongly."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from small_encoder import ConfigMaker, Small, write_folder

from advcal_edge.calibrate.adapters import AdaptedModule
from advcal_edge.calibrate.data.folder import load_folder
from advcal_edge.calibrate.run import calibrate
from advcal_edge.calibrate.torch_runner import TorchRunner
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.retrieval import recall
from advcal_edge.runtime.sensors import preprocess
from advcal_edge.spec import thermal


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    """A csv in which each frame is its own partner."""
    folder = write_folder(tmp_path / "pairs", 120)
    path = folder / "pairs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "pair"])
        for frame in sorted(folder.glob("*/*.png")):
            name = frame.relative_to(folder).as_posix()
            writer.writerow([name, frame.parent.name, name])
    return path


def test_recall_stands_in_the_table_and_partners_in_the_bundle(make_config: ConfigMaker, listing: Path) -> None:
    result = calibrate(make_config(data={"path": str(listing), "pairs": "thermal"}))
    before = result.table.before.recall
    assert (before["clean"].forward == 0).all()
    assert (before["clean"].backward == 0).all()
    assert (before["attacked"].forward > 0).any(), "no attack moved any sample away from its partner"
    probe, partner = result.bundle.probe(), result.bundle.probe().partner
    assert partner is not None
    frozen = TorchRunner(AdaptedModule(Small.load("thermal").module()), thermal(8).input)
    np.testing.assert_allclose(partner, frozen(probe.x), atol=1e-6)
    assert result.bundle.section("data")["partner"] == "thermal"
    document = result.to_json()["metrics"]["after"]["recall"]["attacked"]["backward"]
    assert document["recall@10"]["hits"] >= document["recall@1"]["hits"]


def test_without_pairs_there_is_no_recall(make_config: ConfigMaker) -> None:
    result = calibrate(make_config())
    assert result.table.after.recall == {}
    assert "recall" not in result.to_json()["metrics"]["after"]
    assert result.bundle.probe().partner is None


def test_pairs_stay_on_disk_until_they_are_needed(listing: Path) -> None:
    loaded = load_folder(listing, thermal(8), None, thermal(8), skip_bad=False)
    (listing.parent / "cat/000.png").unlink()
    partners = loaded.samples.partners
    assert partners is not None
    with pytest.raises(InputError, match=r"cannot read `.*cat/000.png`"):
        partners[0]
    np.testing.assert_array_equal(
        preprocess(thermal(8), [partners[1]]), preprocess(thermal(8), [loaded.samples.frames[1]])
    )


def test_a_folder_cannot_say_what_is_paired(make_config: ConfigMaker, tmp_path: Path) -> None:
    config = make_config(data={"pairs": "thermal"})
    with pytest.raises(InputError, match="is a folder, which cannot say what is paired"):
        calibrate(config)


def test_pairs_without_data(make_config: ConfigMaker) -> None:
    with pytest.raises(ConfigError, match="`--pairs` has nothing to pair without `--data`"):
        make_config(data={"path": None, "pairs": "thermal"})


def test_a_csv_without_the_column(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("path,label\na.png,cat\n")
    with pytest.raises(InputError, match="expected `path`, `label`, `pair`"):
        load_folder(path, thermal(8), None, thermal(8), skip_bad=False)


def test_recall_counts_ties_and_broken_embeddings_as_lost() -> None:
    partner = np.eye(4, dtype=np.float32)
    z = partner.copy()
    z[1] = z[0]
    z[2] = np.nan
    found = recall(z, partner)
    np.testing.assert_array_equal(found.forward, [0, 3, 3, 0])
    assert found.backward[0] == 1, "two samples claim the first partner"
    assert found.backward[2] == 3
