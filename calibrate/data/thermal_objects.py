"""Silhouettes of the seven kinds of objects in the synthetic thermal scenes, as parts with their own temperature.

Coordinates: x to the right and y down, the object's longer side about one unit, its centre at the origin.
Temperatures in degrees Celsius; the values are plausible, not measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]
Rng = np.random.Generator

SKIN, FUR, CLOTH, RUBBER, PAINT, GLASS, PLASTIC, METAL = 0.98, 0.97, 0.93, 0.94, 0.92, 0.85, 0.9, 0.45
"""Long-wave emissivities. Bare metal mostly mirrors its surroundings, often a cold sky."""


@dataclass(frozen=True, slots=True)
class Part:
    """One closed outline (k, 2) of uniform temperature and emissivity; later parts hide earlier ones."""

    outline: Outline
    celsius: float
    emissivity: float


def disc(x: float, y: float, rx: float, ry: float) -> Outline:
    """An ellipse."""
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> Outline:
    """A rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def bar(start: tuple[float, float], end: tuple[float, float], width: float) -> Outline:
    """A straight limb of even width."""
    a, b = np.array(start), np.array(end)
    across = np.array([a[1] - b[1], b[0] - a[0]]) * (width / 2 / max(float(np.hypot(*(b - a))), 1e-6))
    return np.stack([a + across, b + across, b - across, a - across])


def ring(x: float, y: float, radius: float, width: float) -> Outline:
    """A wheel rim as one outline that runs round outside and back inside."""
    angle = np.linspace(0, 2 * np.pi, 25)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rim: Outline = np.concatenate([circle * (radius + width / 2), circle[::-1] * (radius - width / 2)])
    rim += (x, y)
    return rim


def toward(ambient: float, core: float, share: float) -> float:
    """A surface between the air and the warm core beneath it."""
    return ambient + share * (core - ambient)


def person(ambient: float, rng: Rng) -> list[Part]:
    """Standing or walking, seen from any side; clothes insulate more in the cold."""
    cloth = toward(ambient, 33, rng.uniform(0.2, 0.55))
    skin = toward(ambient, 36, rng.uniform(0.6, 0.85))
    stride, swing, lean = rng.uniform(0, 0.2), rng.uniform(0.02, 0.2), rng.uniform(-0.05, 0.05)
    breadth = rng.uniform(0.18, 0.26)
    shoulder, hip = (lean, -0.3), (0.0, 0.05)
    parts = [Part(bar(hip, (side * stride, 0.5), 0.1), cloth - 1, CLOTH) for side in (-1, 1)]
    parts.append(Part(bar(shoulder, hip, breadth), cloth, CLOTH))
    for side in (-1, 1):
        elbow = (lean + side * (breadth / 2 + swing / 2), -0.12)
        hand = (lean + side * (breadth / 2 + swing * rng.uniform(0.2, 1.2)), 0.05)
        parts.append(Part(bar((lean + side * breadth / 2.4, -0.28), elbow, 0.07), cloth, CLOTH))
        parts.append(Part(bar(elbow, hand, 0.06), skin if rng.random() < 0.5 else cloth, SKIN))
    parts.append(Part(disc(lean, -0.41, 0.07, 0.09), skin, SKIN))
    return parts


def dog(ambient: float, rng: Rng) -> list[Part]:
    """From the side, standing or trotting, head up or down."""
    fur = toward(ambient, 37, rng.uniform(0.25, 0.5))
    head = toward(ambient, 37, rng.uniform(0.5, 0.75))
    reach, nod, girth = rng.uniform(-0.08, 0.08), rng.uniform(-0.25, 0.05), rng.uniform(0.09, 0.15)
    parts = [
        Part(bar((x, 0.0), (x + side * reach, 0.34), 0.06), fur - 1, FUR) for x in (-0.24, 0.2) for side in (-1, 1)
    ]
    parts.append(Part(bar((-0.3, -0.05), (-0.48, -0.05 + rng.uniform(-0.25, 0.15)), 0.04), fur - 2, FUR))
    parts.append(Part(disc(-0.03, 0.0, 0.31, girth), fur, FUR))
    parts.append(Part(bar((0.2, -0.03), (0.35, nod), 0.13), fur, FUR))
    parts.append(Part(disc(0.38, nod, 0.1, 0.08), head, FUR))
    parts.append(Part(bar((0.4, nod + 0.02), (0.52, nod + 0.04), 0.07), head - 3, FUR))
    return parts


def car(ambient: float, rng: Rng) -> list[Part]:
    """From the side; parked and cold, or driven with a warm bonnet and tyres."""
    driven = rng.random() < 0.6
    body = ambient + rng.uniform(-2, 5)
    hood = body + (rng.uniform(5, 20) if driven else rng.uniform(-1, 1))
    tyre = ambient + (rng.uniform(6, 20) if driven else rng.uniform(-1, 3))
    roof, front, rear = rng.uniform(-0.24, -0.17), rng.uniform(0.14, 0.24), rng.uniform(-0.42, -0.25)
    cabin = np.array([(rear, -0.04), (rear + 0.12, roof), (front - 0.14, roof), (front, -0.04)])
    parts = [
        Part(cabin, body, PAINT),
        Part(cabin * (0.86, 0.8) + (-0.01, -0.02), ambient + rng.uniform(-1, 2), GLASS),
        Part(box(-0.5, -0.05, 0.5, 0.13), body, PAINT),
        Part(box(0.26, -0.04, 0.49, 0.09), hood, PAINT),
    ]
    parts += [Part(disc(x, 0.13, 0.085, 0.085), tyre, RUBBER) for x in (-0.3, 0.3)]
    if driven:
        parts.append(Part(box(-0.52, 0.1, -0.46, 0.14), ambient + rng.uniform(20, 50), METAL))
    return parts


def truck(ambient: float, rng: Rng) -> list[Part]:
    """From the side: a cab and a tall load, three axles, the engine under the cab."""
    driven = rng.random() < 0.6
    load = ambient + rng.uniform(-4, 4)
    body = ambient + rng.uniform(-2, 5)
    engine = body + (rng.uniform(6, 22) if driven else rng.uniform(-1, 1))
    tyre = ambient + (rng.uniform(6, 20) if driven else rng.uniform(-1, 3))
    top, cab = rng.uniform(-0.32, -0.16), rng.uniform(-0.2, -0.08)
    parts = [
        Part(box(-0.5, top, 0.2, 0.14), load, PAINT),
        Part(box(0.23, cab, 0.5, 0.17), body, PAINT),
        Part(box(0.36, cab + 0.03, 0.49, cab + 0.13), ambient + rng.uniform(-1, 2), GLASS),
        Part(box(0.27, 0.06, 0.49, 0.16), engine, PAINT),
    ]
    return parts + [Part(disc(x, 0.18, 0.065, 0.065), tyre, RUBBER) for x in (-0.38, -0.22, 0.36)]


def bicycle(ambient: float, rng: Rng) -> list[Part]:
    """Leaning somewhere without a rider: thin tubes of bare or painted metal."""
    frame, tyre = ambient + rng.uniform(-1, 4), ambient + rng.uniform(1, 9)
    emissivity = rng.uniform(METAL, PAINT)
    wheel, tube = rng.uniform(0.2, 0.24), rng.uniform(0.025, 0.04)
    back, front, pedal, seat, head = (-0.28, 0.15), (0.28, 0.15), (-0.04, 0.14), (-0.12, -0.12), (0.18, -0.13)
    parts = [Part(ring(*hub, wheel, rng.uniform(0.03, 0.05)), tyre, RUBBER) for hub in (back, front)]
    tubes = ((back, pedal), (back, seat), (pedal, seat), (pedal, head), (seat, head), (head, front))
    parts += [Part(bar(start, end, tube), frame, emissivity) for start, end in tubes]
    parts.append(Part(box(-0.2, -0.17, -0.06, -0.13), frame + 1, PLASTIC))
    parts.append(Part(bar((0.18, -0.13), (0.12, -0.24), tube), frame, emissivity))
    parts.append(Part(bar((0.08, -0.24), (0.22, -0.25), tube), frame, emissivity))
    return parts


def drone(ambient: float, rng: Rng) -> list[Part]:
    """A quadrotor from the side to below: warm battery, hot motors at the ends of the arms."""
    tilt = rng.uniform(0.12, 0.75)
    frame, motor = ambient + rng.uniform(0, 4), ambient + rng.uniform(12, 40)
    corners = [(x, y * tilt) for x in (-0.38, 0.38) for y in (-0.42, 0.42)]
    parts = [Part(bar((0.0, 0.0), corner, 0.06), frame, PLASTIC) for corner in corners]
    parts += [Part(bar((x - 0.15, y), (x + 0.15, y), 0.02), frame, PLASTIC) for x, y in corners]
    parts.append(Part(disc(0, 0, 0.16, 0.07 + 0.09 * tilt), frame + rng.uniform(3, 12), PLASTIC))
    return parts + [Part(disc(x, y, 0.055, 0.05), motor, PAINT) for x, y in corners]


def hot_machine(ambient: float, rng: Rng) -> list[Part]:
    """A stationary engine: housing, hot cylinder with cooling ribs, pipe, and sometimes a hot exhaust."""
    case, core = ambient + rng.uniform(3, 15), rng.uniform(45, 95)
    half, top = rng.uniform(0.28, 0.48), rng.uniform(-0.3, -0.1)
    parts = [Part(box(-half, top, half, 0.4), case, PAINT)]
    left = rng.uniform(-half + 0.05, 0.0)
    width, height = rng.uniform(0.2, 0.32), rng.uniform(0.2, 0.36)
    parts.append(Part(box(left, 0.0 - height / 3, left + width, height), core, PAINT))
    for rib in np.linspace(left + 0.03, left + width - 0.03, int(rng.integers(2, 5))):
        parts.append(Part(box(rib - 0.012, -height / 3, rib + 0.012, height), core - 15, METAL))
    pipe = float(rng.uniform(0.05, half - 0.04))
    parts.append(Part(bar((pipe, 0.2), (pipe, top - rng.uniform(0.05, 0.3)), 0.06), core - 20, PAINT))
    if rng.random() < 0.5:
        parts.append(Part(disc(pipe, 0.2, 0.09, 0.09), core + 5, PAINT))
    return parts


def nothing(_ambient: float, _rng: Rng) -> list[Part]:
    """The empty scene: whatever is there is clutter."""
    return []


OBJECTS: dict[str, Callable[[float, Rng], list[Part]]] = {
    "person": person,
    "dog": dog,
    "car": car,
    "truck": truck,
    "bicycle": bicycle,
    "drone": drone,
    "hot machine": hot_machine,
    "empty scene": nothing,
}
