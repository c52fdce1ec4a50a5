"""Files that hold points, or are taken for clouds, in formats that are not read: what they are, and the way in."""

from __future__ import annotations

from collections.abc import Mapping

BAG = "export its clouds, message by message, as `numpy.save('cloud.npy', points)` of (p, 3)"
CAPTURE = "packets need the lidar's own calibration; export frames as .pcd with its maker's tool"
CONVERT = "`pdal translate FILE cloud.ply` or CloudCompare converts it"

FOREIGN: Mapping[bytes, tuple[str, str]] = {
    b"ASTM-E57": ("a scan in E57", CONVERT),
    b"DRACO": ("a cloud compressed by Draco", "`draco_decoder -i FILE -o cloud.ply` unpacks it"),
    b"#ROSBAG": ("a bag of ROS 1", BAG),
    b"\x89MCAP": ("a bag in MCAP", BAG),
    b"SQLite format 3\0": ("a database, as bags of ROS 2 are (.db3)", BAG),
    b"\xd4\xc3\xb2\xa1": ("a capture of network packets (pcap)", CAPTURE),
    b"\x4d\x3c\xb2\xa1": ("a capture of network packets (pcap)", CAPTURE),
    b"\x0a\x0d\x0d\x0a": ("a capture of network packets (pcapng)", CAPTURE),
    b"glTF": ("a scene in glTF", "export its meshes as .obj, or its points as .ply"),
    b"solid": ("a mesh in STL", "convert it to .obj or .off, which are read, as `trimesh` or Blender do"),
    b"PK\x03\x04": ("an archive (zip or npz)", "unpack it; of an npz, save the array alone: `numpy.save`"),
    b"\x1f\x8b": ("compressed by gzip", "`gunzip FILE` unpacks it"),
    b"\x89HDF": ("a file in HDF5", "save one cloud with `numpy.save` as (p, 3)"),
    b"\x89PNG": ("a picture (png)", "of a depth frame make an embedding with `--modality depth`"),
    b"\xff\xd8\xff": ("a picture (jpeg)", "a cloud needs coordinates: x, y, z of each point"),
}
"""First bytes, what they are, and what to do."""


def recognise(head: bytes) -> tuple[str, str] | None:
    """What a file is and the way in; None if it is not known."""
    return next((said for magic, said in FOREIGN.items() if head.startswith(magic)), None)
