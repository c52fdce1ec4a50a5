"""sensor_msgs/PointCloud2 to points: x, y, z wherever they lie in a point, of any number type and byte order."""

from __future__ import annotations

import numpy as np

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.messages.fields import WHOLE, Message, read_bytes, read_field, read_text, read_whole, take_rows
from advcal_edge.runtime.sensors.frame import Array

TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""sensor_msgs/PointField.datatype."""

AXES = ("x", "y", "z")


def read_cloud(message: Message) -> Array:
    """The points (p, 3) of a cloud, row by row if it is organised; float32, or float64 if a coordinate is wider.

    Raises:
        InputError: no field x, y or z, fields that overlap the next point, or sizes that do not fit the data.
    """
    height, width = read_whole(message, "height"), read_whole(message, "width")
    limits.POINTS.check(height * width, f"the cloud of {height} x {width} points", InputError)
    point, row = read_whole(message, "point_step"), read_whole(message, "row_step")
    order = ">" if read_whole(message, "is_bigendian") else "<"
    found = {}
    names = []
    for field in read_field(message, "fields"):
        name, kind, offset = read_text(field, "name"), read_whole(field, "datatype"), read_whole(field, "offset")
        names.append(name)
        if name not in AXES:
            continue
        if name in found or kind not in TYPES or read_whole(field, "count") > 1:
            raise InputError(
                f"the cloud has the field `{name}` twice, as an array or of the unknown type {kind};"
                " expected one number of types 1 to 8",
                hint=WHOLE,
            )
        found[name] = np.dtype(order + TYPES[kind]), offset
    if len(found) < len(AXES):
        raise InputError(
            f"the cloud has the fields {', '.join(names[:12]) or 'none'}; expected x, y and z",
            hint="a scanner's packets or ranges become points in its driver; record that topic",
        )
    end = max(offset + dtype.itemsize for dtype, offset in found.values())
    if end > point:
        raise InputError(f"the cloud has points of {point} bytes; expected {end} for x, y and z", hint=WHOLE)
    wide = any(dtype.kind != "f" or dtype.itemsize > 4 for dtype, _ in found.values())
    rows = take_rows(read_bytes(message), height, width * point, row or width * point)
    points = rows.reshape(height * width, point)
    columns = []
    for axis in AXES:
        dtype, offset = found[axis]
        stored = np.ascontiguousarray(points[:, offset : offset + dtype.itemsize])
        columns.append(stored.view(dtype).reshape(-1).astype(np.float64 if wide else np.float32))
    return np.stack(columns, axis=1)
