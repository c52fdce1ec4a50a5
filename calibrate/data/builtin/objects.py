"""The seven kinds of objects in the synthetic scenes, as parts with temperature, surface and joint.

Temperatures in degrees Celsius; the values are plausible, not measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from advcal_edge.calibrate.data.builtin.shapes import Joint, Part, Point, bar, box, disc, ring

Rng = np.random.Generator

SKIN, FUR, CLOTH, RUBBER, PAINT, GLASS, PLASTIC, METAL = 0.98, 0.97, 0.93, 0.94, 0.92, 0.85, 0.9, 0.45
"""Long-wave emissivities. Bare metal mostly reflects its surroundings, often a cold sky."""


@dataclass(frozen=True, slots=True)
class Body:
    """An object's parts from back to front, and whether it is moving or its engine runs."""

    parts: tuple[Part, ...]
    active: bool


def toward(ambient: float, core: float, share: float) -> float:
    """Temperature of a surface between the air and a warm core."""
    return ambient + share * (core - ambient)


def detail(
    outline: np.ndarray[tuple[int, int], np.dtype[np.float64]], surface: str, joint: Joint | None = None
) -> Part:
    """A part that is visible only in light."""
    return Part(outline, float("nan"), float("nan"), surface, joint, detail=True)


def person(ambient: float, rng: Rng) -> Body:
    """Standing or walking, seen from any side; clothes insulate more in the cold."""
    cloth = toward(ambient, 33, rng.uniform(0.2, 0.55))
    skin = toward(ambient, 36, rng.uniform(0.6, 0.85))
    stride, swing, lean = rng.uniform(0, 0.2), rng.uniform(0.02, 0.2), rng.uniform(-0.05, 0.05)
    breadth = rng.uniform(0.18, 0.26)
    shoulder, hip = (lean, -0.3), (0.0, 0.05)
    parts: list[Part] = []
    for side in (-1, 1):
        gait = Joint("swing", hip, 0.3 + stride, 0.25 + side * 0.25)
        foot = side * stride
        parts.append(Part(bar(hip, (foot, 0.5), 0.1), cloth - 1, CLOTH, "trousers", gait))
        parts.append(detail(bar((foot * 0.96, 0.475), (foot + 0.04, 0.49), 0.05), "shoe", gait))
    parts.append(Part(bar(shoulder, hip, breadth), cloth, CLOTH, "shirt"))
    for side in (-1, 1):
        reach = Joint("swing", (lean + side * breadth / 2.4, -0.28), 0.2 + swing, 0.25 - side * 0.25)
        elbow = (lean + side * (breadth / 2 + swing / 2), -0.12)
        hand = (lean + side * (breadth / 2 + swing * rng.uniform(0.2, 1.2)), 0.05)
        bare = rng.random() < 0.5
        parts.append(Part(bar(reach.pivot, elbow, 0.07), cloth, CLOTH, "shirt", reach))
        parts.append(Part(bar(elbow, hand, 0.06), skin if bare else cloth, SKIN, "skin" if bare else "shirt", reach))
    parts.append(Part(disc(lean, -0.41, 0.07, 0.09), skin, SKIN, "skin"))
    parts.append(detail(disc(lean, -0.455, 0.072, 0.05), "hair"))
    return Body(tuple(parts), stride > 0.08)


def dog(ambient: float, rng: Rng) -> Body:
    """From the side, standing or trotting, head up or down."""
    fur = toward(ambient, 37, rng.uniform(0.25, 0.5))
    head = toward(ambient, 37, rng.uniform(0.5, 0.75))
    reach, nod, girth = rng.uniform(-0.08, 0.08), rng.uniform(-0.25, 0.05), rng.uniform(0.09, 0.15)
    parts = [
        Part(
            bar((x, 0.0), (x + side * reach, 0.34), 0.06), fur - 1, FUR, "legs",
            Joint("swing", (x, 0.0), 0.35, 0.25 + side * 0.25 * (1 if x > 0 else -1)),
        )
        for x in (-0.24, 0.2)
        for side in (-1, 1)
    ]  # fmt: skip
    tail = bar((-0.3, -0.05), (-0.48, -0.05 + rng.uniform(-0.25, 0.15)), 0.04)
    parts.append(Part(tail, fur - 2, FUR, "fur", Joint("swing", (-0.3, -0.05), 0.4)))
    parts.append(Part(disc(-0.03, 0.0, 0.31, girth), fur, FUR, "fur"))
    parts.append(Part(bar((0.2, -0.03), (0.35, nod), 0.13), fur, FUR, "fur"))
    parts.append(Part(disc(0.38, nod, 0.1, 0.08), head, FUR, "fur"))
    parts.append(Part(bar((0.4, nod + 0.02), (0.52, nod + 0.04), 0.07), head - 3, FUR, "snout"))
    parts.append(detail(disc(0.52, nod + 0.02, 0.025, 0.025), "rubber"))
    parts.append(detail(disc(0.41, nod - 0.025, 0.014, 0.014), "rubber"))
    parts.append(detail(bar((0.33, nod - 0.06), (0.29, nod + 0.07), 0.06), "snout"))
    return Body(tuple(parts), abs(reach) > 0.02)


def wheel(hub: Point, radius: float, celsius: float) -> list[Part]:
    """A tyre with a rim inside; the spokes make its rotation visible."""
    roll = Joint("roll", hub, radius)
    inner = radius * 0.58
    spokes = [(inner * np.cos(a), inner * np.sin(a)) for a in (0.3, 0.3 + np.pi / 3, 0.3 + 2 * np.pi / 3)]
    return [
        Part(disc(*hub, radius, radius), celsius, RUBBER, "rubber"),
        detail(disc(*hub, inner, inner), "rim"),
        *[
            detail(bar((hub[0] - x, hub[1] - y), (hub[0] + x, hub[1] + y), 0.2 * radius), "rubber", roll)
            for x, y in spokes
        ],
    ]


def car(ambient: float, rng: Rng) -> Body:
    """From the side; parked and cold, or driven with a warm bonnet and tyres."""
    driven = bool(rng.random() < 0.6)
    body = ambient + rng.uniform(-2, 5)
    hood = body + (rng.uniform(5, 20) if driven else rng.uniform(-1, 1))
    tyre = ambient + (rng.uniform(6, 20) if driven else rng.uniform(-1, 3))
    roof, front, rear = rng.uniform(-0.24, -0.17), rng.uniform(0.14, 0.24), rng.uniform(-0.42, -0.25)
    cabin = np.array([(rear, -0.04), (rear + 0.12, roof), (front - 0.14, roof), (front, -0.04)])
    parts = [
        Part(cabin, body, PAINT, "paint"),
        Part(cabin * (0.86, 0.8) + (-0.01, -0.02), ambient + rng.uniform(-1, 2), GLASS, "glass"),
        detail(box(-0.06, roof * 0.9, -0.03, -0.04), "paint"),
        Part(box(-0.5, -0.05, 0.5, 0.13), body, PAINT, "paint"),
        Part(box(0.26, -0.04, 0.49, 0.09), hood, PAINT, "paint"),
        detail(box(-0.5, 0.085, 0.5, 0.13), "trim"),
        detail(box(-0.045, -0.03, -0.035, 0.085), "trim"),
        detail(box(0.45, -0.03, 0.5, 0.02), "lamp"),
        detail(box(-0.5, -0.03, -0.46, 0.02), "tail lamp"),
    ]
    for x in (-0.3, 0.3):
        parts += wheel((x, 0.13), 0.085, tyre)
    if driven:
        parts.append(Part(box(-0.52, 0.1, -0.46, 0.14), ambient + rng.uniform(20, 50), METAL, "steel"))
    return Body(tuple(parts), driven)


def truck(ambient: float, rng: Rng) -> Body:
    """From the side: a cab and a tall load, three axles, the engine under the cab."""
    driven = bool(rng.random() < 0.6)
    load = ambient + rng.uniform(-4, 4)
    body = ambient + rng.uniform(-2, 5)
    engine = body + (rng.uniform(6, 22) if driven else rng.uniform(-1, 1))
    tyre = ambient + (rng.uniform(6, 20) if driven else rng.uniform(-1, 3))
    top, cab = rng.uniform(-0.32, -0.16), rng.uniform(-0.2, -0.08)
    parts = [
        Part(box(-0.5, top, 0.2, 0.14), load, PAINT, "load"),
        detail(box(-0.5, 0.1, 0.23, 0.15), "trim"),
        Part(box(0.23, cab, 0.5, 0.17), body, PAINT, "paint"),
        Part(box(0.36, cab + 0.03, 0.49, cab + 0.13), ambient + rng.uniform(-1, 2), GLASS, "glass"),
        Part(box(0.27, 0.06, 0.49, 0.16), engine, PAINT, "paint"),
        detail(box(0.46, 0.07, 0.5, 0.11), "lamp"),
    ]
    for x in (-0.38, -0.22, 0.36):
        parts += wheel((x, 0.18), 0.065, tyre)
    return Body(tuple(parts), driven)


def bicycle(ambient: float, rng: Rng) -> Body:
    """Leaning, without a rider, a wheel perhaps still turning: thin tubes of bare or painted metal."""
    frame, tyre = ambient + rng.uniform(-1, 4), ambient + rng.uniform(1, 9)
    emissivity = rng.uniform(METAL, PAINT)
    radius, tube = rng.uniform(0.2, 0.24), rng.uniform(0.025, 0.04)
    back, front, pedal, seat, head = (-0.28, 0.15), (0.28, 0.15), (-0.04, 0.14), (-0.12, -0.12), (0.18, -0.13)
    parts: list[Part] = []
    for x, y in (back, front):
        parts.append(Part(ring(x, y, radius, rng.uniform(0.03, 0.05)), tyre, RUBBER, "rubber"))
        roll = Joint("roll", (x, y), radius)
        for angle in (0.2, 0.2 + np.pi / 3, 0.2 + 2 * np.pi / 3):
            dx, dy = radius * np.cos(angle), radius * np.sin(angle)
            parts.append(detail(bar((x - dx, y - dy), (x + dx, y + dy), 0.008), "steel", roll))
    tubes = ((back, pedal), (back, seat), (pedal, seat), (pedal, head), (seat, head), (head, front))
    parts += [Part(bar(start, end, tube), frame, emissivity, "tube") for start, end in tubes]
    parts.append(detail(ring(*pedal, 0.045, 0.02), "steel"))
    parts.append(Part(box(-0.2, -0.17, -0.06, -0.13), frame + 1, PLASTIC, "saddle"))
    parts.append(Part(bar((0.18, -0.13), (0.12, -0.24), tube), frame, emissivity, "tube"))
    parts.append(Part(bar((0.08, -0.24), (0.22, -0.25), tube), frame, emissivity, "saddle"))
    return Body(tuple(parts), tyre > ambient + 4)


def drone(ambient: float, rng: Rng) -> Body:
    """A quadrotor from the side to below: warm battery, hot motors at the ends of the arms."""
    tilt = rng.uniform(0.12, 0.75)
    frame, motor = ambient + rng.uniform(0, 4), ambient + rng.uniform(12, 40)
    corners = [(x, y * tilt) for x in (-0.38, 0.38) for y in (-0.42, 0.42)]
    parts = [Part(bar((0.0, 0.0), corner, 0.06), frame, PLASTIC, "hull") for corner in corners]
    for index, (x, y) in enumerate(corners):
        spin = Joint("spin", (x, y), 1.0, index / 4)
        parts.append(Part(bar((x - 0.15, y), (x + 0.15, y), 0.02), frame, PLASTIC, "rotor", spin))
    parts.append(Part(disc(0, 0, 0.16, 0.07 + 0.09 * tilt), frame + rng.uniform(3, 12), PLASTIC, "hull"))
    parts.append(detail(disc(0.07, 0.04, 0.03, 0.03), "glass"))
    parts += [Part(disc(x, y, 0.055, 0.05), motor, PAINT, "motor") for x, y in corners]
    return Body(tuple(parts), True)


def hot_machine(ambient: float, rng: Rng) -> Body:
    """A stationary engine: housing, hot cylinder with cooling ribs, pipe, and sometimes a hot exhaust."""
    case, core = ambient + rng.uniform(3, 15), rng.uniform(45, 95)
    half, top = rng.uniform(0.28, 0.48), rng.uniform(-0.3, -0.1)
    parts = [
        Part(box(-half, top, half, 0.4), case, PAINT, "case"),
        detail(box(-half, 0.34, half, 0.4), "trim"),
        detail(box(-half + 0.04, top + 0.04, -half + 0.16, top + 0.12), "panel"),
    ]
    left = rng.uniform(-half + 0.05, 0.0)
    width, height = rng.uniform(0.2, 0.32), rng.uniform(0.2, 0.36)
    parts.append(Part(box(left, 0.0 - height / 3, left + width, height), core, PAINT, "cylinder"))
    for rib in np.linspace(left + 0.03, left + width - 0.03, int(rng.integers(2, 5))):
        parts.append(Part(box(rib - 0.012, -height / 3, rib + 0.012, height), core - 15, METAL, "steel"))
    pipe = float(rng.uniform(0.05, half - 0.04))
    parts.append(Part(bar((pipe, 0.2), (pipe, top - rng.uniform(0.05, 0.3)), 0.06), core - 20, PAINT, "pipe"))
    if rng.random() < 0.5:
        parts.append(Part(disc(pipe, 0.2, 0.09, 0.09), core + 5, PAINT, "pipe"))
    flywheel = Joint("roll", (half - 0.09, 0.26), 0.08)
    parts.append(detail(disc(*flywheel.pivot, 0.08, 0.08), "rim"))
    parts.append(detail(bar((half - 0.16, 0.26), (half - 0.02, 0.26), 0.03), "trim", flywheel))
    return Body(tuple(parts), True)


def nothing(_ambient: float, _rng: Rng) -> Body:
    """The empty scene, with clutter only."""
    return Body((), False)


OBJECTS: dict[str, Callable[[float, Rng], Body]] = {
    "person": person,
    "dog": dog,
    "car": car,
    "truck": truck,
    "bicycle": bicycle,
    "drone": drone,
    "hot machine": hot_machine,
    "empty scene": nothing,
}

OBJECT_NAMES = tuple(OBJECTS)
