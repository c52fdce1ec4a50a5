"""Render scenes as raw frames of any sensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from advcal_edge.calibrate.data.builtin.objects import OBJECT_NAMES
from advcal_edge.calibrate.data.builtin.ranging import depth_metres, point_cloud
from advcal_edge.calibrate.data.builtin.scene import Scene, draw_scenes, labels_of
from advcal_edge.calibrate.data.builtin.sound import sound
from advcal_edge.calibrate.data.builtin.thermal import thermal_counts
from advcal_edge.calibrate.data.builtin.visible import event_stream, image, video
from advcal_edge.calibrate.data.samples import Samples
from advcal_edge.errors import ConfigError
from advcal_edge.runtime.sensors import Frame

SENSORS: Mapping[str, Callable[[Scene, int], Frame]] = {
    "thermal": thermal_counts,
    "image": image,
    "video": video,
    "depth": depth_metres,
    "event": event_stream,
    "point": point_cloud,
    "audio": sound,
}
"""Renderer of each modality."""


def scenes(seed: int, n: int) -> Sequence[Scene]:
    """Make `n` scenes, with equal numbers of the eight classes.

    The same seed gives the same scenes, and a longer run begins with the scenes of a shorter one.
    """
    return tuple(draw_scenes(seed, n))


def render(scene: Scene, modality: str, size: int = 64) -> Frame:
    """The raw frame of the scene from the sensor of `modality`; `size` is the side of images and event sensors.

    thermal uint16 (h, w) counts; image uint8 (h, w, 3); video Recording of uint8 (t, h, w, 3); depth float64 (h, w)
    metres; event float64 (n, 4) of seconds, x, y, polarity; point float32 (p, 3) metres; audio Recording of
    float32 (n,).

    Raises:
        ConfigError: no sensor of this modality.
    """
    if modality not in SENSORS:
        raise ConfigError(
            f"synthetic scenes have no sensor of the modality `{modality}`",
            hint=f"there are: {', '.join(f'`{name}`' for name in SENSORS)}",
        )
    return SENSORS[modality](scene, size)


def scene_samples(modality: str, seed: int, n: int, size: int = 64) -> Samples:
    """The scenes of `seed` from one sensor, with their classes; all modalities show the same moments.

    Raises:
        ConfigError: no sensor of this modality.
    """
    frames = tuple(render(scene, modality, size) for scene in draw_scenes(seed, n))
    return Samples(frames, labels_of(seed, n), OBJECT_NAMES, f"synthetic {modality} scenes, seed {seed}", "Apache-2.0")
