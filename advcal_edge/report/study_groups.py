"""The lines of a study in groups of the same encoder, sensor and data, and the methods that they compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from advcal_edge.errors import ConfigError
from advcal_edge.report.study import CASE, DEFAULT, FROZEN, METHOD, REPEATED, Line, Results
from advcal_edge.threat import parse_eps

LOOKS = 6
"""Colours and shapes of marks in `study.css` and `study_plots.py`; the first is that of the frozen encoder."""
ALONE = ("preset", "objective.attacked", "objective.clean", "adapter.kind", "craft.kind")
"""Keys whose values are clear without their name."""
PLACE = (CASE, REPEATED, "encoder", "modality", "weights", "centers", "data.", "threat.")
"""Starts of keys that a group's title or a block's heading says."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a group: how it was calibrated, and the look of its marks."""

    line: Line
    method: str
    label: str
    """The method, behind the name of the case if the group has several."""
    look: int

    def mean(self, column: str) -> float:
        """Its share."""
        return self.line.figures[column].mean


@dataclass(frozen=True, slots=True)
class Block:
    """The rows of one radius, the frozen encoder first."""

    radius: str
    eps: float
    rows: Sequence[Row]

    def frozen(self, row: Row) -> Row | None:
        """The frozen encoder that a row started from: the one before it."""
        before = self.rows[: self.rows.index(row)]
        return next((other for other in reversed(before) if other.line.frozen), None)


@dataclass(frozen=True, slots=True)
class Group:
    """One encoder, sensor and data set."""

    title: str
    modality: str
    anchor: str
    blocks: Sequence[Block]

    @property
    def rows(self) -> list[Row]:
        """Those of all radii."""
        return [row for block in self.blocks for row in block.rows]

    @property
    def known(self) -> set[str]:
        """Columns that any row has."""
        return {column for row in self.rows for column in row.line.figures}


@dataclass(frozen=True, slots=True)
class Gain:
    """One method at one radius, against the frozen encoder: changes as fractions over the groups, and how many gain."""

    method: str
    look: int
    radius: str
    worst: tuple[float, float, float]
    """Lowest, median and highest."""
    clean: tuple[float, float, float]
    better: int
    groups: int
    trained: tuple[float, float]
    """Smallest and largest share of the encoder's numbers."""


def groups_of(results: Results) -> list[Group]:
    """The groups in the order of their first lines."""
    gathered: dict[tuple[str, ...], list[Line]] = {}
    for line in results.lines:
        gathered.setdefault(_key(line), []).append(line)
    varied = [len({key[place] for key in gathered}) > 1 for place in range(3)]
    methods = [FROZEN, *dict.fromkeys(method_of(line.values) for line in results.lines if not line.frozen)]
    groups = []
    for number, (key, lines) in enumerate(gathered.items(), 1):
        named = [part for part, several in zip(key[:3], varied, strict=True) if part and several]
        title = " \N{MIDDLE DOT} ".join([*(named or [key[1]]), *key[3:]]).strip() or results.name
        groups.append(Group(title, key[1], f"group-{number}", _blocks(lines, methods)))
    return groups


def looks_of(groups: Sequence[Group]) -> Mapping[str, int]:
    """The look of each method, the frozen encoder first."""
    looks = {row.method: row.look for group in groups for row in group.rows}
    return dict(sorted(looks.items(), key=lambda item: item[1]))


def radii_of(groups: Sequence[Group]) -> list[str]:
    """All radii, smallest first within each group."""
    return list(dict.fromkeys(block.radius for group in groups for block in group.blocks))


def gains_of(groups: Sequence[Group]) -> list[Gain]:
    """How each method changes the frozen encoder, by radius, over all groups."""
    found: dict[tuple[str, str], list[tuple[Row, Row]]] = {}
    for block in (block for group in groups for block in group.blocks):
        for row in block.rows:
            before = block.frozen(row)
            if before is not None and not row.line.frozen:
                found.setdefault((block.radius, row.method), []).append((before, row))
    return [_gain(method, radius, pairs) for (radius, method), pairs in found.items()]


def method_of(values: Mapping[str, str]) -> str:
    """How a line was calibrated, in a few words."""
    if values.get("preset") == FROZEN:
        return FROZEN
    words = [
        value if key in ALONE else f"{key.rpartition('.')[2]} {value}"
        for key, value in values.items()
        if key.startswith(METHOD) and value != DEFAULT
    ]
    return ", ".join(words) or "calibrated"


def _gain(method: str, radius: str, pairs: Sequence[tuple[Row, Row]]) -> Gain:
    """From pairs of a row before and one after."""
    worst, clean = ([row.mean(column) - before.mean(column) for before, row in pairs] for column in ("worst", "clean"))
    shares = [row.line.trained for _, row in pairs]
    return Gain(
        method,
        pairs[0][1].look,
        radius,
        (min(worst), median(worst), max(worst)),
        (min(clean), median(clean), max(clean)),
        sum(change > 0 for change in worst),
        len(pairs),
        (min(shares), max(shares)),
    )


def _key(line: Line) -> tuple[str, ...]:
    """Encoder, sensor, data, and whatever else the study varies of the frozen encoder's figures."""
    about = (line.about["encoder"], line.about["modality"], line.about["data"])
    others = (f"{key} {value}" for key, value in line.values.items() if not key.startswith((*METHOD, *PLACE)))
    return (*about, *others)


def _blocks(lines: Sequence[Line], methods: Sequence[str]) -> list[Block]:
    """Blocks by rising radius; where a group has several cases, their names are part of the methods'."""
    several = len({line.values.get(CASE) for line in lines}) > 1
    found: dict[tuple[str, float, str], list[Row]] = {}
    for line in lines:
        method = method_of(line.values)
        look = 0 if line.frozen else 1 + (methods.index(method) - 1) % (LOOKS - 1)
        label = f"{line.values.get(CASE, '')}: {method}" if several else method
        norm, eps = line.about["norm"], line.about["eps"]
        radius = f"{norm} {eps}".strip() if eps else ""
        found.setdefault((norm, _number(eps), radius), []).append(Row(line, method, label, look))
    return [Block(radius, eps, rows) for (_, eps, radius), rows in sorted(found.items(), key=lambda item: item[0][:2])]


def _number(eps: str) -> float:
    try:
        return parse_eps(eps)
    except ConfigError:
        return 0.0
