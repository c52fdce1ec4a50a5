"""Lists of public data sets, unharmed and as short as they can be; the frames that they name are not there."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

LISTS: Mapping[str, Mapping[str, str]] = {
    "esc50": {"meta/esc50.csv": "filename,fold,category\na.wav,1,dog\nb.wav,5,cat\n", "audio/x": ""},
    "urbansound8k": {
        "metadata/UrbanSound8K.csv": "slice_file_name,fold,class\na.wav,1,dog_bark\nb.wav,10,siren\n",
        "audio/fold1/x": "",
    },
    "places365": {
        "categories_places365.txt": "/a/airfield 0\n/b/bar 1\n",
        "places365_train_standard.txt": "/a/airfield/1.jpg 0\n/b/bar/1.jpg 1\n",
        "places365_val.txt": "1.jpg 0\n2.jpg 1\n",
    },
    "msrvtt": {
        "train_val_videodatainfo.json": '{"videos": [{"video_id": "video0", "category": 3, "split": "train"}]}',
        "test_videodatainfo.json": '{"videos": [{"video_id": "video1", "category": 3, "split": "test"}]}',
    },
    "ucf101": {
        "UCF-101/x": "",
        "ucfTrainTestlist/trainlist01.txt": "Archery/v_Archery_g08_c01.avi 3\nYoYo/v_YoYo_g08_c01.avi 101\n",
        "ucfTrainTestlist/testlist01.txt": "Archery/v_Archery_g01_c01.avi\n",
    },
    "modelnet40": {"modelnet40_train.txt": "chair_0001\nsofa_0001\n", "modelnet40_test.txt": "chair_0002\n"},
    "shapenet": {
        "all.csv": "id,synsetId,modelId,split\n1,02691156,ab,train\n2,02691156,cd,test\n",
        "taxonomy.json": '[{"synsetId": "02691156", "name": "airplane,plane"}]',
        "02691156/ab/model.obj": "",
    },
    "shapenet parts": {
        "train_test_split/shuffled_train_file_list.json": '["shape_data/02691156/ab"]',
        "train_test_split/shuffled_test_file_list.json": '["shape_data/02691156/cd"]',
        "synsetoffset2category.txt": "Airplane\t02691156\n",
    },
    "imagenet": {
        "train/n00000001/x": "",
        "val/x": "",
        "LOC_val_solution.csv": "ImageId,PredictionString\na,n00000001 1 2 3 4\n",
        "LOC_synset_mapping.txt": "n00000001 tench, Tinca\n",
    },
    "imagenet kit": {
        "train/n00000001/x": "",
        "val/x": "",
        "devkit/data/ILSVRC2012_validation_ground_truth.txt": "1\n2\n",
    },
    "llvip": {
        "infrared/train/1.jpg": "",
        "infrared/test/2.jpg": "",
        "Annotations/1.xml": "<annotation><size><width>9</width><height>9</height></size></annotation>",
        "Annotations/2.xml": "<a><size><width>9</width><height>9</height></size><object><name>person</name><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>5</ymax></bndbox></object></a>",
    },
}
"""Files of each set by name; the first word is that of the layout."""


def write_lists(folder: Path) -> None:
    """A folder for each of them."""
    for name, files in LISTS.items():
        for file, text in files.items():
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    (folder / "imagenet kit" / "devkit" / "data" / "meta.mat").write_bytes(make_synsets())


def make_synsets() -> bytes:
    """`meta.mat` of two classes, without the hour at which it was made."""
    import numpy as np
    from scipy.io import savemat

    table = np.empty((2, 1), [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    table[0, 0], table[1, 0] = (1.0, "n00000001", "tench, Tinca"), (2.0, "n00000002", "crane")
    file = io.BytesIO()
    savemat(file, {"synsets": table})
    return b"MATLAB 5.0".ljust(116) + file.getvalue()[116:]
