"""Point clouds to tensors: a uniform sample, centred, scaled into the unit sphere.

Farthest points are sampled first and normalised after, as UniBind and Point-Bind do with ModelNet: the centroid of the
sample is the origin and its farthest point is on the sphere. Bounds [-1, 1], in radii of the cloud; eps 4/255 of that
width is 0.031 radii per coordinate: 1.6 cm on a chair of 1 m. Clouds beyond `POOL` points, or twice the sample, are
first thinned at random, with a fixed seed. Holes are dropped, see `point_holes.py`; too few points are repeated in
turn. Of a mesh, `SURFACE` points of its surface are the cloud. The unit of the coordinates does not matter.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.foreign_points import recognise
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.files.las import MAGIC as LAS, read_las
from advcal_edge.runtime.sensors.files.lidar_bin import SUFFIX, read_lidar_bin
from advcal_edge.runtime.sensors.files.obj import is_obj, read_obj
from advcal_edge.runtime.sensors.files.off import KEYWORD, read_off
from advcal_edge.runtime.sensors.files.pcd import is_pcd, read_pcd
from advcal_edge.runtime.sensors.files.ply import read_ply
from advcal_edge.runtime.sensors.files.point_text import is_point_text, read_point_text
from advcal_edge.runtime.sensors.files.sensor_file import NPY, read_magic
from advcal_edge.runtime.sensors.files.text_table import ANEW
from advcal_edge.runtime.sensors.frame import Frame
from advcal_edge.runtime.sensors.grid import snap
from advcal_edge.runtime.sensors.point_columns import Cloud, as_cloud, check_axes, declared_columns, find_axes
from advcal_edge.runtime.sensors.point_holes import declared_holes, find_holes
from advcal_edge.spec import Modality

FORMATS = "ply, pcd, las, laz, npy, text or .bin of KITTI and nuScenes, or of a mesh, off or obj"

FEWEST = 16
"""Fewer points do not define a shape."""

FARTHEST = 1e9
SMALLEST_RADIUS = 1e-9

POOL = 16384
"""Larger clouds are thinned before sampling."""

SURFACE = 10_000
"""Points on a mesh, or as many as the encoder takes if those are more; ModelNet's resampled form has this many."""


def check_cloud(frame: object, where: str, modality: Modality) -> Cloud:
    """The points (p, 3) with coordinates, float64; holes are left out.

    Raises:
        InputError: not a cloud, too few or too many points, all in one place, or coordinates that are not lengths.
        ConfigError: `input.columns` or `input.invalid` are not what a cloud can have.
    """
    invalid = declared_holes(modality)
    if isinstance(frame, np.ndarray):
        axes = frame.ndim - (frame.dtype.names is None)
        limits.POINTS.check(math.prod(frame.shape[:axes]), where, InputError)
    cloud = find_axes(frame, modality, where)
    kept = as_cloud(cloud[~find_holes(cloud, invalid)])
    if len(kept) < FEWEST:
        raise InputError(
            f"{where} holds {len(kept)} points apart from {len(cloud) - len(kept)} holes; expected at least {FEWEST}",
            hint="too little came back: is the scanner covered, or the scene out of its range? If points exactly at the"
            " origin are points, `--set input.invalid=nan` keeps them",
        )
    if np.abs(kept).max() > FARTHEST:
        raise InputError(
            f"{where} reaches out to {np.abs(kept).max():g}; expected coordinates up to {FARTHEST:g}",
            hint="a value that stands for no return is declared by `--set input.invalid=VALUE`, columns that are no"
            " coordinates by `--set input.columns=x,y,z,-`",
        )
    if np.ptp(kept, axis=0).max() < SMALLEST_RADIUS:
        raise InputError(
            f"{where} holds {len(kept)} points in one place; expected a cloud with an extent",
            hint="the scanner gave one value for all; is it running, and are the columns x, y and z?",
        )
    return kept


def normalise(cloud: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (p, 3) with the centroid at the origin and the farthest at distance 1; a single point is the origin."""
    centred = cloud - cloud.mean(axis=0)
    radius = float(np.sqrt((centred**2).sum(axis=1).max()))
    scaled: NDArray[np.float64] = centred / (radius or 1.0)
    return scaled


def _thin(cloud: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    pool = max(POOL, 2 * count)
    if len(cloud) <= pool:
        return cloud
    return cloud[np.random.default_rng(0).choice(len(cloud), pool, replace=False, shuffle=False)]


class _Point:
    """Implements `Sensor`."""

    frame_axes = 2

    def read(self, path: str | os.PathLike[str], modality: Modality) -> Frame:
        path, names = Path(path), declared_columns(modality)
        magic, surface = read_magic(path), max(SURFACE, modality.input.shape[0])
        assume = modality.assumes_units
        if magic.startswith(NPY):
            return decode_file(path)
        if magic.startswith((b"ply\n", b"ply\r\n")):
            return as_cloud(read_ply(path))
        if magic.startswith(LAS):
            return as_cloud(read_las(path, assume))
        if is_pcd(path, magic):
            return as_cloud(read_pcd(path))
        if magic.startswith(KEYWORD):
            return as_cloud(read_off(path).sample(surface))
        if is_obj(path, magic):
            return as_cloud(read_obj(path).sample(surface))
        foreign = recognise(magic)
        if foreign is None and path.suffix.lower() == SUFFIX:
            return as_cloud(read_lidar_bin(path, names, assume))
        if foreign is None and is_point_text(path, magic):
            text = read_point_text(path, names)
            cloud = as_cloud(text.points)
            if not (text.named or assume):
                check_axes(cloud, text.columns, f"`{path}`")
            return cloud
        what, hint = foreign or (f"none of the formats {FORMATS}", ANEW)
        raise InputError(f"`{path}` is {what}; expected a point cloud", hint=hint)

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_cloud(frame, where, modality)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        count = modality.input.shape[0]
        cloud = _thin(np.asarray(frame), count)
        sample = normalise(cloud[sample_farthest(cloud, min(count, len(cloud)))])
        return snap(np.resize(sample, (count, 3)), modality)[None]


POINT = _Point()


def sample_farthest(cloud: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Indices (count,) into the cloud (p, 3), each the point farthest from all earlier ones.

    Starts with the point farthest from the centroid, so that the order of the points does not matter; takes
    O(count * p). Eldar et al., "The farthest point strategy for progressive image sampling", IEEE TIP 6(9), 1997.
    """
    x, y, z = np.ascontiguousarray((cloud - cloud.mean(axis=0)).T)
    apart = x * x + y * y + z * z
    chosen = np.empty(count, np.intp)
    chosen[0] = apart.argmax()
    apart[:] = np.inf
    square, total = np.empty_like(x), np.empty_like(x)
    for step in range(1, count):
        last = chosen[step - 1]
        np.subtract(x, x[last], out=total)
        np.multiply(total, total, out=total)
        for axis in (y, z):
            np.subtract(axis, axis[last], out=square)
            np.multiply(square, square, out=square)
            np.add(total, square, out=total)
        np.minimum(apart, total, out=apart)  # the squared distance to the nearest point chosen so far
        chosen[step] = apart.argmax()
    return chosen
