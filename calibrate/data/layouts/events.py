"""N-Caltech101 and N-ImageNet: one folder of event recordings a class."""

from __future__ import annotations

from advcal_edge.calibrate.data.layouts.imagenet import class_names, wnids
from advcal_edge.calibrate.data.layouts.listing import Listing, spoken
from advcal_edge.calibrate.data.layouts.registry import layout
from advcal_edge.calibrate.data.layouts.root import Root

NCALTECH101 = layout("ncaltech101", modality="event", title="N-Caltech101")
NIMAGENET = layout("nimagenet", modality="event", title="N-ImageNet")


@NCALTECH101.form("Caltech101/*/*.bin")
def read_ncaltech101(root: Root) -> Listing:
    """Published without a split."""
    return Listing(root.classes("Caltech101", spoken, ".bin"), None)


@NCALTECH101.form("airplanes/*.bin")
def read_caltech_folder(root: Root) -> Listing:
    """The same, if `root` is the folder Caltech101 itself."""
    return Listing(root.classes("", spoken, ".bin"), None)


@NIMAGENET.form("extracted_train/n*", "extracted_val/n*")
def read_nimagenet(root: Root) -> Listing:
    """Labels are those of ImageNet if a file with its words lies there; the lists of paths are not read."""
    train, val = "extracted_train", "extracted_val"
    names = class_names(root, {*wnids(root, train), *wnids(root, val)})
    return Listing(root.classes(train, names.get, ".npz"), root.classes(val, names.get, ".npz"))
