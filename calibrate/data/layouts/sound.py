"""ESC-50 and UrbanSound8K: folders of recordings and one table, which also says the fold of each."""

from __future__ import annotations

from advcal_edge.calibrate.data.layouts.listing import Listing, Side, spoken
from advcal_edge.calibrate.data.layouts.registry import layout
from advcal_edge.calibrate.data.layouts.root import Root

ESC50 = layout("esc50", modality="audio", title="ESC-50", folds=5)
URBANSOUND8K = layout("urbansound8k", modality="audio", title="UrbanSound8K", folds=10)


@ESC50.form("meta/esc50.csv", "audio")
def read_esc50(root: Root) -> Listing:
    """Folds by `fold`, labels from `category`."""
    return _read_table(root, "meta/esc50.csv", ("filename", "fold", "category"), ESC50.folds, "audio/")


@URBANSOUND8K.form("metadata/UrbanSound8K.csv", "audio/fold1")
def read_urbansound8k(root: Root) -> Listing:
    """Folds by folder, labels from `class`."""
    columns = ("slice_file_name", "fold", "class")
    return _read_table(root, "metadata/UrbanSound8K.csv", columns, URBANSOUND8K.folds, "audio/fold{fold}/")


def _read_table(root: Root, table: str, columns: tuple[str, str, str], folds: int, folder: str) -> Listing:
    """Recordings of a table with the name, the fold and the class of each; `root.fold` is held out."""
    train, held_out = Side(), Side()
    for (name, word, label), place in root.rows(table, *columns):
        fold = root.number(word, 1, folds, place)
        side = held_out if fold == root.fold else train
        side.add(spoken(label), [root.below(folder.format(fold=fold) + name, place)])
    return Listing(train, held_out)
