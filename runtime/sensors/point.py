"""Point clouds to tensors: a uniform sample, centred, scaled into the unit sphere.

Farthest points are sampled first and normalised after, as UniBind and Point-Bind do with ModelNet: the centroid of the
sample is the origin and its farthest point is on the sphere. Bounds [-1, 1], in radii of the cloud; eps 4/255 of that
width is 0.031 radii per coordinate: 1.6 cm on a chair of 1 m. Clouds beyond `POOL` points, or twice the sample, are
first thinned at random, with a fixed seed. Points with NaN or infinite coordinates are missing returns and dropped; too
few points are repeated in turn. Of a mesh, `SURFACE` points of its surface are the cloud.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError
from advcal_edge.runtime.sensors.files.image_file import decode_file
from advcal_edge.runtime.sensors.files.obj import is_obj, read_obj
from advcal_edge.runtime.sensors.files.off import KEYWORD, read_off
from advcal_edge.runtime.sensors.files.pcd import read_pcd
from advcal_edge.runtime.sensors.files.ply import read_ply
from advcal_edge.runtime.sensors.files.point_text import is_point_text, read_point_text
from advcal_edge.runtime.sensors.files.sensor_file import NPY, read_magic
from advcal_edge.runtime.sensors.files.text_table import ANEW
from advcal_edge.runtime.sensors.frame import Array, Frame, describe
from advcal_edge.runtime.sensors.grid import snap
from advcal_edge.spec import Modality

EXPECTED = "points (p, 3 to 16): x, y, z, then what else the sensor gives"

FORMATS = "ply, pcd, npy or text, or of a mesh, off or obj"

GIVE = f"give the cloud as (p, 3) numbers, one point a row: a numpy array, or a file ({FORMATS})"

FEWEST = 16
"""Fewer points do not define a shape."""

COLUMNS = 16
FARTHEST = 1e9
SMALLEST_RADIUS = 1e-9

POOL = 16384
"""Larger clouds are thinned before sampling."""

SURFACE = 10_000
"""Points on a mesh, or as many as the encoder takes if those are more; ModelNet's resampled form has this many."""


def check_cloud(frame: object, where: str) -> Array:
    """The points (p, 3) with finite coordinates, float64.

    Raises:
        InputError: not a cloud, too few or too many points, all in one place, or coordinates that are not lengths.
    """
    if not isinstance(frame, np.ndarray) or frame.ndim != 2 or frame.dtype.kind not in "iuf":
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=GIVE)
    if not 3 <= frame.shape[1] <= COLUMNS:
        hint = "points come one a row: `cloud.T`" if 3 <= frame.shape[0] <= COLUMNS else GIVE
        raise InputError(f"{where} is {describe(frame)}; expected {EXPECTED}", hint=hint)
    limits.POINTS.check(len(frame), where, InputError)
    cloud = frame[:, :3].astype(np.float64)
    cloud = cloud[np.isfinite(cloud).all(axis=1)]
    if len(cloud) < FEWEST:
        raise InputError(
            f"{where} holds {len(cloud)} finite points of {len(frame)}; expected at least {FEWEST}",
            hint="too little came back: is the scanner covered, or the scene out of its range?",
        )
    if np.abs(cloud).max() > FARTHEST:
        raise InputError(
            f"{where} reaches out to {np.abs(cloud).max():g}; expected coordinates up to {FARTHEST:g}",
            hint="drop points without a return: `cloud[numpy.abs(cloud).max(axis=1) < 1000]` keeps 1 km of metres",
        )
    if np.ptp(cloud, axis=0).max() < SMALLEST_RADIUS:
        raise InputError(
            f"{where} holds {len(cloud)} points in one place; expected a cloud with an extent",
            hint="the scanner gave one value for all; is it running, and are the columns x, y and z?",
        )
    return cloud


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
        path = Path(path)
        magic = read_magic(path)
        if magic.startswith(NPY):
            return decode_file(path)
        if magic.startswith((b"ply\n", b"ply\r\n")):
            return read_ply(path)
        if magic.startswith((b"# .PCD", b"VERSION")):
            return read_pcd(path)
        if magic.startswith(KEYWORD):
            return read_off(path).sample(max(SURFACE, modality.input.shape[0]))
        if is_obj(path, magic):
            return read_obj(path).sample(max(SURFACE, modality.input.shape[0]))
        if is_point_text(magic):
            return read_point_text(path)
        raise InputError(f"`{path}` is none of the formats {FORMATS}; expected a point cloud", hint=ANEW)

    def check(self, frame: object, where: str, modality: Modality) -> Frame:
        return check_cloud(frame, where)

    def tensors(self, frame: Frame, modality: Modality, clips: int) -> NDArray[np.float32]:
        count = modality.input.shape[0]
        cloud = _thin(cast(Array, frame), count)
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
