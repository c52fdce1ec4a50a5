"""All sensors look at one scene: what one sees is where the others see it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from advcal_edge.calibrate.data.builtin.motion import Motion
from advcal_edge.calibrate.data.builtin.ranging import distance_metres
from advcal_edge.calibrate.data.builtin.rendering import render, scenes
from advcal_edge.calibrate.data.builtin.scene import Scene, draw_scene, paint_scene
from advcal_edge.calibrate.data.builtin.shapes import STILL
from advcal_edge.runtime.sensors import Recording

SOLID = ("person", "dog", "car", "truck", "hot machine")


def values(scene: Scene, modality: str) -> NDArray[Any]:
    frame = render(scene, modality)
    return frame.values if isinstance(frame, Recording) else frame


def without_object(scene: Scene) -> Scene:
    return replace(scene, object=replace(scene.object, parts=()))


def object_mask(scene: Scene, side: int, seconds: float = 0.0) -> NDArray[np.bool_]:
    """Where the object is seen (side, side) after `seconds`: not where clutter hides it."""
    canvas = np.zeros((side, side, 1), np.float32)
    paint_scene(canvas, scene, lambda part, placed: None if part.detail else (float(placed is scene.object),), seconds)
    return canvas[..., 0] > 0


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union."""
    return float((a & b).sum() / max((a | b).sum(), 1))


@pytest.mark.parametrize("name", SOLID)
def test_the_object_is_at_the_same_place_for_thermal_depth_and_colour(name: str) -> None:
    drawn = [draw_scene(name, seed) for seed in range(12)]
    masks = [object_mask(scene, 64) for scene in drawn]
    changed: dict[str, list[float]] = {"thermal": [], "depth": []}
    for scene, mask in zip(drawn, masks, strict=True):
        for modality, step in (("thermal", 30), ("depth", 0.06)):
            pair = (values(which, modality).astype(float) for which in (scene, without_object(scene)))
            changed[modality].append(overlap(np.abs(np.subtract(*pair)) > step, mask))
    assert np.median(changed["thermal"]) > 0.7
    assert np.median(changed["depth"]) > 0.6


def test_the_object_stands_before_the_ground_behind_it() -> None:
    for scene in scenes(6, 24):
        mask = object_mask(scene, 64)
        if mask.any():
            distance = distance_metres(scene, 64)[mask]
            assert abs(np.median(distance) - scene.object.distance) < 0.3 * scene.metres
            assert scene.metres * scene.lens / scene.object.distance == pytest.approx(scene.object.scale)


def test_depth_noise_is_small_near_and_some_pixels_give_no_answer() -> None:
    scene = draw_scene("person", 3)
    measured, exact = values(scene, "depth"), distance_metres(scene, 128)[::2, ::2]
    answered = (measured > 0) & (exact < 5)
    assert np.abs(measured - exact)[answered].max() < 0.25
    assert 0 < (measured == 0)[(exact > 0) & (exact < 5)].mean() < 0.05


def test_the_first_frame_of_the_video_is_the_image_and_later_ones_move() -> None:
    for scene in scenes(6, 16):
        video = values(scene, "video")
        assert np.array_equal(video[0], values(scene, "image"))
        step, whole = (np.abs(video[0].astype(int) - video[index]).mean() for index in (1, -1))
        assert step > 0
        assert np.abs(video[0].astype(int) - calm_video(scene)[-1]).mean() < max(step, whole)


def calm_video(scene: Scene) -> NDArray[Any]:
    return values(replace(scene, motion=becalmed(scene.motion)), "video")


def becalmed(motion: Motion) -> Motion:
    still = replace(motion.sway, amplitude=((0.0, 0.0), (0.0, 0.0)))
    return replace(motion, sway=still, bob=still, drift=0.0, pan=0.0, pace=STILL)


@pytest.mark.parametrize("name", ["car", "truck", "dog"])
def test_an_object_drifts_forward_while_the_camera_follows_it(name: str) -> None:
    for scene in [scene for scene in (draw_scene(name, seed) for seed in range(12)) if scene.active]:
        facing = -1 if scene.object.mirror else 1
        assert facing * scene.motion.drift > 0
        assert facing * scene.motion.pan >= 0
        scene = replace(scene, object=replace(scene.object, centre=(0.5, 0.5), scale=0.4), front=(), behind=())
        drifting = replace(scene, motion=replace(becalmed(scene.motion), drift=scene.motion.drift))
        before, after = (np.nonzero(object_mask(drifting, 256, seconds))[1].mean() / 256 for seconds in (0.0, 1.0))
        assert after - before == pytest.approx(scene.motion.drift, abs=0.005)


def test_points_lie_on_the_surface_that_the_depth_camera_sees() -> None:
    for scene in scenes(6, 16):
        points, side = values(scene, "point").astype(float), 160
        distance = distance_metres(scene, side)
        column = (points[:, 0] / points[:, 2] * scene.lens + 0.5) * side
        row = (points[:, 1] / points[:, 2] * scene.lens + scene.background.horizon) * side
        column, row = np.rint(column - 0.5).astype(int), np.rint(row - 0.5).astype(int)
        assert min(column.min(), row.min()) >= 0
        assert max(column.max(), row.max()) < side
        assert np.abs(points[:, 2] / distance[row, column] - 1).max() < 0.03


def test_events_occur_where_the_video_changes() -> None:
    ratios = []
    for scene in scenes(6, 32):
        events, (first, second) = values(scene, "event"), values(scene, "video")[:2].astype(float).mean(axis=3)
        fired = np.zeros((64, 64))
        np.add.at(fired, (events[:, 2].astype(int), events[:, 1].astype(int)), 1)
        change = np.abs(second - first)
        strong = change > np.quantile(change, 0.9)
        ratios.append(fired[strong].mean() / fired[~strong].mean())
    assert np.median(ratios) > 3
    assert min(ratios) > 1


def test_polarity_follows_brightness() -> None:
    agreed = []
    for scene in scenes(6, 32):
        events, (first, second) = values(scene, "event"), values(scene, "video")[:2].astype(float).mean(axis=3)
        balance = np.zeros((64, 64))
        np.add.at(balance, (events[:, 2].astype(int), events[:, 1].astype(int)), 2 * events[:, 3] - 1)
        clear = (np.abs(second - first) > 40) & (balance != 0)
        if clear.sum() > 20:
            agreed.append((np.sign(balance) == np.sign(second - first))[clear].mean())
    assert len(agreed) > 10
    assert np.median(agreed) > 0.9


def test_a_scene_that_stands_still_fires_only_stray_events() -> None:
    scene = draw_scene("car", 5)
    calm = replace(scene, motion=becalmed(scene.motion))
    assert len(values(calm, "event")) < 300 < len(values(scene, "event"))
