"""Look at a file: read it, measure it, and show what the encoder gets."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np

from advcal_edge.declarations import DECLARATIONS
from advcal_edge.errors import InputError
from advcal_edge.look.facts import level, quantity, share, size_in_words
from advcal_edge.look.histograms import histograms
from advcal_edge.look.kinds import name_format
from advcal_edge.look.sight import Fact, Refusal, Seen, Setting, Sight, View
from advcal_edge.runtime.sensors import preprocess_clips
from advcal_edge.runtime.sensors.frame import describe
from advcal_edge.runtime.sensors.sensor import choose_sensor
from advcal_edge.spec import Modality
from advcal_edge.threat import ThreatModel

VIEWS: Mapping[str, str] = {"range": "depth"}
"""Module of the view of a preprocessing, if it has another name."""


def look(path: Path, modality: Modality, threat: ThreatModel, usual: Modality, declared: Collection[str] = ()) -> Sight:
    """Everything that is seen of one file; a file that is refused is seen too, with the reason.

    `usual` has the defaults of the settings; those in `declared` were said here.

    Raises:
        ConfigError: a setting that the sensor cannot have.
        DependencyError: the library that reads this format is not installed.
    """
    read, settings = list(read_facts(path)), list(settings_of(modality, usual, declared))
    try:
        sensor = choose_sensor(modality)
        stored = sensor.read(path, modality)
        read.append(Fact("as stored", describe(stored)))
        frame = sensor.check(stored, f"`{os.fspath(path)}`", modality)
        x = preprocess_clips(modality, frame)
    except InputError as error:
        return Sight(path, modality, threat, read, settings, refusal=Refusal(error.message, error.hint or ""))
    seen = Seen(path, modality, threat, stored, frame, x)
    module = import_module(f"advcal_edge.look.views.{VIEWS.get(modality.preprocess, modality.preprocess)}")
    view = cast(View, module.view(seen))
    return Sight(
        path,
        modality,
        threat,
        [*read, *view.read],
        settings,
        view.measured,
        view.fitted,
        [*encoder_facts(seen), Fact("eps means", view.meaning)],
        view.raw,
        view.x,
        list(histograms(seen.x, modality, seen.step)),
    )


def read_facts(path: Path) -> Iterator[Fact]:
    """What the file system and the first bytes tell."""
    yield Fact("format", name_format(path) or "not readable")
    try:
        yield Fact("size", size_in_words(path.stat().st_size))
    except (OSError, ValueError):
        return


def settings_of(modality: Modality, usual: Modality, declared: Collection[str]) -> Iterator[Setting]:
    """Each setting, and whether it was said here, stands in the bundle, or is the default."""
    for name, value in modality.settings.items():
        text = f"{value:g}" if isinstance(value, float | int) else value
        if name in DECLARATIONS and value in DECLARATIONS[name].names:
            named = DECLARATIONS[name].number(value)
            text = text if named == 1 else f"{text}: {named:.6g}"
        origin = "declared" if name in declared else "default" if usual.settings.get(name) == value else "bundle"
        yield Setting(name, text or "not declared", origin)


def encoder_facts(seen: Seen) -> Iterator[Fact]:
    """x, its bounds and where it lies in them."""
    spec, x = seen.modality.input, seen.x
    low, high = spec.bounds
    least, largest, mean = (level(float(value), spec.width) for value in (x.min(), x.max(), x.mean(dtype=np.float64)))
    yield Fact("shape", f"{' x '.join(map(str, spec.shape))} ({spec.layout}), {len(x)} clip{'s' * (len(x) > 1)}")
    yield Fact("bounds", f"{low:g} to {high:g}, {spec.unit}")
    yield Fact("range", f"{least} to {largest}, mean {mean}")
    yield Fact("at the lower bound", share(int((x == low).sum()), x.size, "values"))
    yield Fact("at the upper bound", share(int((x == high).sum()), x.size, "values"))
    yield Fact("distinct values", f"{len(np.unique(x))} of {2**seen.modality.bit_depth}")
    yield Fact(
        "eps",
        f"{seen.threat}: {quantity(seen.step, '', 4)} of x in each value"
        + ("" if seen.threat.norm == "linf" else ", if all move alike"),
    )
