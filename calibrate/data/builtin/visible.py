"""The colour camera and the event camera: radiance under sun and sky, and the output of both sensors.

The colour camera exposes, adds noise and rounds to eight bits. A pixel of the event camera fires when its logarithmic
intensity has changed by a threshold since it last fired. The model is that of ESIM (Rebecq et al. 2018): intensities
are interpolated linearly between closely spaced renderings.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.data.builtin.scene import Scene, paint_scene
from advcal_edge.calibrate.data.builtin.shapes import SUPERSAMPLING, Map, Part, PlacedObject, Pose, fill
from advcal_edge.runtime.sensors import Recording

COLOUR_STREAM = 1
VIDEO_FRAMES = 6
VIDEO_RATE = 4.0
"""Frames per second: six frames last as long as the sound."""

GREY = 0.2
"""Target mean radiance of the exposure, as a share of white."""

ROUNDING = 0.03
"""Width of a part's rounded edge as a share of its object's longer side."""

STANDING_OUT = 0.8, 1.0, 1.25
"""Relief of clutter, of a body and of its limbs and details, in widths of the rounded edge."""

EVENT_STREAM = 5
SECONDS = 1 / VIDEO_RATE
"""Time between the first and the second frame of the video."""

RENDERINGS = 9
THRESHOLD = 0.15
"""Change of the natural logarithm of intensity that fires an event; thresholds of pixels vary by a few percent."""

MISMATCH = 0.04
DARK = 0.02
"""Radiance below which a pixel no longer sees changes: the logarithm is of the radiance plus this."""

STRAY = 0.1
"""Noise events per second of a pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A scene before the colour camera: the parts that are equal in all frames."""

    scene: Scene
    backdrop: Map
    """Ground and sky without objects: albedo, and no relief, (side, side, 4)."""
    gain: float

    def radiance(self, seconds: float) -> Map:
        """Linear radiance (side, side, 3) after `seconds`; 1 is white."""
        return _radiance(self.scene, self.backdrop, seconds) * np.float32(self.gain)


def set_up(scene: Scene, side: int) -> Stage:
    """Draw the backdrop and set the exposure, once for all frames."""
    backdrop = _backdrop(scene, side)
    metered = float(_radiance(scene, backdrop, 0.0)[::4, ::4].mean())
    return Stage(scene, backdrop, GREY * scene.light.exposure / max(metered, 1e-3))


def image(scene: Scene, size: int = 64) -> NDArray[np.uint8]:
    """One RGB frame (size, size, 3)."""
    return _expose(set_up(scene, SUPERSAMPLING * size).radiance(0.0), scene, size, scene.stream(COLOUR_STREAM))


def video(scene: Scene, size: int = 64) -> Recording:
    """Frames (t, size, size, 3) a quarter of a second apart; the first is the still image."""
    stage, noise = set_up(scene, SUPERSAMPLING * size), scene.stream(COLOUR_STREAM)
    moments = np.arange(VIDEO_FRAMES) / VIDEO_RATE
    return Recording(np.stack([_expose(stage.radiance(float(t)), scene, size, noise) for t in moments]), VIDEO_RATE)


def _expose(radiance: Map, scene: Scene, size: int, noise: np.random.Generator) -> NDArray[np.uint8]:
    """Pixels of a radiance: shot and read noise in linear light, then the display curve."""
    light = cv2.resize(radiance, (size, size), interpolation=cv2.INTER_AREA)
    grain = noise.standard_normal(light.shape, np.float32)
    light = light + scene.light.noise * (0.3 + np.sqrt(np.maximum(light, 0))) * grain
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def _radiance(scene: Scene, backdrop: Map, seconds: float) -> Map:
    side = backdrop.shape[0]
    dx, dy = scene.motion.of_background(seconds).offset
    canvas = backdrop.copy()
    if seconds:
        shift = np.array([[1, 0, dx * side], [0, 1, dy * side]])
        canvas[:] = cv2.warpAffine(backdrop, shift, (side, side), borderMode=cv2.BORDER_REFLECT_101)

    def ink(part: Part, placed: PlacedObject) -> tuple[float, ...]:
        raised = STANDING_OUT[0] if placed is not scene.object else STANDING_OUT[1 + (part.joint is not None)]
        return (*scene.colours[part.surface], raised)

    shadow = _shadow(scene, side, seconds)
    paint_scene(canvas, scene, ink, seconds)
    light, sun = scene.light, np.array(scene.light.sun) / np.linalg.norm(scene.light.sun)
    covered = np.minimum(canvas[..., 3], 1)
    width = ROUNDING * side * (scene.object.scale if scene.object.parts else 0.7)
    relief = cv2.GaussianBlur(canvas[..., 3], (0, 0), width) * np.float32(1.6 * width)
    slope_x, slope_y = cv2.Sobel(relief, -1, 1, 0, scale=1 / 8), cv2.Sobel(relief, -1, 0, 1, scale=1 / 8)
    facing = (sun[2] - sun[0] * slope_x + sun[1] * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    direct = covered * np.maximum(facing, 0) + (1 - covered) * (_on_ground(scene) * shadow)
    ambient = light.ambient * (1 - 0.35 * (1 - covered) * np.clip(relief / width, 0, 1))  # corners get less sky light
    lit: Map = canvas[..., :3] * (
        light.direct * direct[..., None] * np.array(light.tint, np.float32) + ambient[..., None]
    )
    return lit.astype(np.float32)


def _on_ground(scene: Scene) -> float:
    """Cosine between the sun and the ground's normal, never close to zero."""
    return 0.25 + 0.75 * scene.light.sun[1] / float(np.linalg.norm(scene.light.sun))


def _shadow(scene: Scene, side: int, seconds: float) -> Map:
    """Share of sunlight (side, side) that reaches the ground."""
    shade = np.ones((side, side), np.float32)
    if scene.light.direct < 0.2:
        return shade
    across = float(np.clip(-0.5 * scene.light.sun[0] / scene.light.sun[1], -1.2, 1.2))
    motion = scene.motion
    casting: list[tuple[PlacedObject, Pose]] = [(placed, motion.of_background(seconds)) for placed in scene.behind]
    if scene.name != "drone":  # its shadow is far away
        casting.append((scene.object, motion.of_object(seconds)))
    for placed, pose in casting:
        base = side * (placed.base() + pose.offset[1])
        for part in placed.parts:
            if not part.detail:
                outline = placed.outline(part, side, pose)
                above = base - outline[:, 1]
                fill(shade, np.stack([outline[:, 0] + across * above, base - 0.22 * above], axis=1), (0.1,))
    horizon = int(np.clip(side * (scene.background.horizon + motion.of_background(seconds).offset[1]), 0, side))
    shade[:horizon] = 1
    return np.asarray(cv2.GaussianBlur(shade, (0, 0), 0.012 * side), np.float32)


def _backdrop(scene: Scene, side: int) -> Map:
    """Albedo of ground and sky, and no relief, (side, side, 4)."""
    background, light, rng = scene.background, scene.light, scene.stream(2)
    rows = np.linspace(0, 1, side, dtype=np.float32)[:, None]
    fields = background.texture(side)
    grain = cv2.resize(rng.standard_normal((48, 24), np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    roughness, patches, cloudiness = rng.uniform(0.03, 0.2), rng.uniform(0.05, 0.25), rng.uniform(0, 1)
    near = np.clip((rows - background.horizon) * 2, 0.1, 1)  # texture fades with distance
    ground = np.exp(patches * fields + roughness * near * grain)[..., None] * _rgb(scene, "ground")
    flat = np.array(light.tint, np.float32) * (light.direct * _on_ground(scene)) + light.ambient
    brightness = 0.03 if light.night else 0.6 + 0.5 * light.direct
    depth = np.clip(rows / max(background.horizon, 0.05), 0, 1)[..., None] ** 2
    sky = (1 - depth) * _rgb(scene, "zenith") + depth * _rgb(scene, "haze")
    clouds = cloudiness * np.clip(fields - 0.3, 0, 1)[..., None]
    sky = (sky * (1 - clouds) + 0.9 * clouds) * (brightness / flat)  # the sky emits light: undo the lighting
    albedo = np.where((rows > background.horizon)[..., None], np.minimum(ground, 1), sky)
    return np.concatenate([albedo, np.zeros((side, side, 1), np.float32)], axis=2).astype(np.float32)


def _rgb(scene: Scene, surface: str) -> Map:
    return np.array(scene.colours[surface], np.float32)


def event_stream(scene: Scene, size: int = 64) -> NDArray[np.float64]:
    """Events (n, 4) in order of time: seconds, x, y in pixels of a (size, size) sensor, and polarity 1 or 0."""
    stage, noise = set_up(scene, size), scene.stream(EVENT_STREAM)
    moments = np.linspace(0, SECONDS, RENDERINGS)
    levels = [_logarithm(stage.radiance(float(t))) for t in moments]
    thresholds = THRESHOLD * (1 + MISMATCH * noise.standard_normal((size, size)))
    memory = levels[0] + thresholds * noise.uniform(-0.5, 0.5, (size, size))  # where each pixel last fired
    fired: list[NDArray[np.float64]] = [_stray(size, noise)]
    for start, before, after in zip(moments, levels, levels[1:], strict=False):
        change = after - before
        rises = change > 0
        polarity = np.where(rises, 1.0, -1.0)
        steps = np.maximum(np.floor(polarity * (after - memory) / thresholds), 0)
        for nth in range(1, int(steps.max()) + 1):
            y, x = np.nonzero(steps >= nth)
            crossed = memory[y, x] + nth * polarity[y, x] * thresholds[y, x]
            share = np.clip((crossed - before[y, x]) / change[y, x], 0, 1)
            seconds = start + share * (moments[1] - moments[0])
            fired.append(np.stack([seconds, x, y, rises[y, x]], axis=1).astype(np.float64))
        memory = memory + polarity * steps * thresholds
    events = np.concatenate(fired)
    return events[np.argsort(events[:, 0], kind="stable")]


def _logarithm(radiance: NDArray[np.float32]) -> NDArray[np.float64]:
    grey = cv2.cvtColor(radiance, cv2.COLOR_RGB2GRAY)
    return np.log(np.maximum(grey, 0).astype(np.float64) + DARK)


def _stray(size: int, noise: np.random.Generator) -> NDArray[np.float64]:
    """Events of the sensor's own noise, at least one."""
    count = max(1, int(noise.poisson(STRAY * SECONDS * size**2)))
    x, y = noise.integers(0, size, (2, count))
    return np.stack([noise.uniform(0, SECONDS, count), x, y, noise.integers(0, 2, count)], axis=1).astype(np.float64)
