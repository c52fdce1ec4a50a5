"""From the files of a data set to samples: only those that are drawn are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcal_edge.calibrate.config import DataConfig
from advcal_edge.calibrate.data.classes import check_classes
from advcal_edge.calibrate.data.layouts.crops import CropFiles
from advcal_edge.calibrate.data.layouts.listing import Box, Listing, Side
from advcal_edge.calibrate.data.layouts.registry import find_layout
from advcal_edge.calibrate.data.readable import BATCH, frame_digests, unreadable
from advcal_edge.calibrate.data.samples import FrameFiles, Samples
from advcal_edge.calibrate.data.split import split_mask, stratified_order
from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors import Frame
from advcal_edge.spec import Modality

HOPELESS = 1000
"""Unreadable files, and none that is readable, after which no others are tried."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Samples of both sides, shuffled over the classes, and what was left out."""

    train: Samples
    held_out: Samples
    skipped: int
    """Files that cannot be read."""
    copies: int
    """Training frames that are also held out."""


def load_layout(
    data: DataConfig,
    modality: Modality,
    known: Sequence[str] | None,
    pairs: Modality | None = None,
    *,
    train: int,
    held_out: int,
    seed: int,
) -> Drawn:
    """Draw at most `train` and `held_out` samples of a public data set; `seed` decides which to train with.

    Files are drawn before any is read, each prefix of a draw with nearly the overall shares of the classes. Each one is
    read to check it; it is replaced by the next one if it cannot be read and `data.skip_bad` is set, or if it is to be
    trained with and equals a frame held out.

    Raises:
        ConfigError: too few samples for class means, or a share to hold out of a set with a published split.
        InputError: another data set or a broken one, a class without center, or, unless `data.skip_bad`, files that are
            not frames of this modality.
    """
    layout, path = find_layout(data.layout or ""), Path(data.path or "")
    listing = layout.read(path, data.fold)
    source = _Source(
        path, _classes(listing, known, path, layout.title), modality, pairs, listing.partner, data.skip_bad
    )
    parts = tuple(_Part.of(side, source.names) for side in (listing.train, listing.held_out) if side is not None)
    if len(parts) == 1:
        (whole,) = parts
        files = [f"{place} {file}" for place, file in enumerate(whole.files)]  # equal frames are told apart later
        aside = split_mask(whole.labels, source.names, str(path), data.held_out, 0, digests=files)
        parts = whole.take(np.flatnonzero(~aside)), whole.take(np.flatnonzero(aside))
    elif data.held_out != DataConfig().held_out:
        raise ConfigError(
            f"`data.held_out` is {data.held_out:g}; {layout.title} was published with a split, which says what is held"
            " out",
            hint="leave out `data.held_out`",
        )
    tested = source.draw(parts[1], held_out, 0, frozenset())
    trained = source.draw(parts[0], train, seed, tested.digests)
    for side, found in (("held out", tested), ("to train with", trained)):
        if not len(found.samples):
            raise InputError(
                f"no readable sample of `{path}` is {side}", hint="without `--skip-bad` unreadable files are listed"
            )
    if known is None:
        _check_means(trained.samples)
    return Drawn(trained.samples, tested.samples, tested.bad + trained.bad, trained.copies)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Labels (n,) of one side, and the file of each sample; boxes too if frames are parts of pictures."""

    labels: NDArray[np.int64]
    files: Sequence[str]
    boxes: Sequence[Box]

    @classmethod
    def of(cls, side: Side, names: Sequence[str]) -> _Part:
        counts = [len(side.files.get(name, ())) for name in names]
        labels = np.repeat(np.arange(len(names), dtype=np.int64), counts)
        files = list(chain.from_iterable(side.files.get(name, ()) for name in names))
        return cls(labels, files, list(chain.from_iterable(side.boxes.get(name, ()) for name in names)))

    def take(self, rows: NDArray[np.intp]) -> _Part:
        """The samples at `rows`, in that order."""
        places = rows.tolist()
        boxes = [self.boxes[place] for place in places] if self.boxes else []
        return _Part(self.labels[rows], [self.files[place] for place in places], boxes)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Samples, the hashes of their frames, and the numbers of unreadable files and of copies that were left out."""

    samples: Samples
    digests: frozenset[str]
    bad: int
    copies: int


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Where frames come from, and how they are read."""

    path: Path
    names: tuple[str, ...]
    modality: Modality
    pairs: Modality | None
    partner: Callable[[str], str] | None
    skip_bad: bool

    def draw(self, part: _Part, wanted: int, seed: int, excluded: Set[str]) -> _Found:
        """Up to `wanted` samples whose frames can be read and have none of the `excluded` hashes."""
        order = stratified_order(part.labels, seed)
        rows: list[int] = []
        digests: list[str] = []
        bad: list[InputError] = []
        copies = looked_at = 0
        while looked_at < len(order) and len(rows) < wanted:
            batch = order[looked_at : looked_at + min(BATCH, wanted - len(rows))]
            samples = self._samples(part.take(batch))
            looked_at += len(batch)
            for row, found in zip(
                batch.tolist(), frame_digests(range(len(batch)), partial(_look, samples)), strict=True
            ):
                if isinstance(found, InputError):
                    bad.append(found)
                elif found in excluded:
                    copies += 1
                else:
                    rows.append(row)
                    digests.append(found)
            enough = looked_at >= min(wanted, len(order))
            if (bad and not self.skip_bad and enough) or (len(bad) >= HOPELESS and not rows):
                raise unreadable(bad, looked_at, self.path)
        samples = self._samples(part.take(np.array(rows, np.intp)))
        return _Found(samples, frozenset(digests), len(bad), copies)

    def _samples(self, part: _Part) -> Samples:
        partners = None
        if self.pairs is not None and self.partner is not None:
            partners = self._frames([self.partner(file) for file in part.files], part.boxes, self.pairs)
        return Samples(
            self._frames(part.files, part.boxes, self.modality),
            part.labels,
            self.names,
            str(self.path),
            "NOASSERTION",
            partners,
            None if partners is None or self.pairs is None else self.pairs.name,
        )

    def _frames(self, files: Sequence[str], boxes: Sequence[Box], modality: Modality) -> Sequence[Frame]:
        paths = tuple(self.path / file for file in files)
        return CropFiles(paths, tuple(boxes), modality) if boxes else FrameFiles(paths, modality)


def _look(samples: Samples, place: int) -> Frame:
    """The frame of a sample, after that of its partner was read too."""
    if samples.partners is not None:
        samples.partners[place]
    return samples.frames[place]


def _classes(listing: Listing, known: Sequence[str] | None, path: Path, title: str) -> tuple[str, ...]:
    """`check_classes`, with hints for a set that nobody should have to change."""
    try:
        return check_classes(listing.counts, known, path)
    except InputError as error:
        hint = error.hint
        if known is not None and not set(listing.counts) <= set(known):
            hint = f"make centers of the labels of {title}; docs/calibrate.md#public-data-sets shows how to list them"
        raise InputError(error.message, hint=hint) from error


def _check_means(samples: Samples) -> None:
    """Refuse classes without a sample to train with, where class means are the centers."""
    missing = sorted(set(range(len(samples.names))) - set(samples.labels.tolist()))
    if missing:
        raise ConfigError(
            f"none of the {len(samples)} samples to train with is of the class `{samples.names[missing[0]]}`; expected"
            f" some of each of the {len(samples.names)} classes, since their means are the centers",
            hint="raise `--set train.samples=N`, or give centers of text: `--centers FILE`",
        )
