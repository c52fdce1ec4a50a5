"""The page of a study: one self-contained file without scripts, rendered from its JSON document alone."""

from __future__ import annotations

from collections.abc import Mapping

from advcal_edge.errors import DependencyError
from advcal_edge.report.study import FIGURES, Results, columns_of
from advcal_edge.report.study_groups import Group, gains_of, groups_of, looks_of, radii_of
from advcal_edge.report.study_plots import SHAPES, DotPlot, RadiusPlot, trade_offs

TITLES = {
    "glance": "At a glance",
    "dots": "Clean and worst case",
    "radius": "Worst case against the radius",
    "trade": "Trade-off",
    "figures": "All figures",
    "run": "What was run",
}
"""Sections by the name of their anchor."""


def render_study(results: Results) -> str:
    """The page of a study; the same results give the same bytes.

    Raises:
        DependencyError: jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ModuleNotFoundError as error:
        raise DependencyError("jinja2", extra="report", purpose="the page of a study") from error
    from advcal_edge.report.html import Section, environment, stylesheet

    groups = groups_of(results)
    curves = [RadiusPlot.of(group) for group in groups if _has_curve(group)]
    gains = gains_of(groups)
    there = {"glance": bool(gains), "radius": bool(curves)}
    names = [name for name in TITLES if there.get(name, True)]
    return (
        environment()
        .get_template("study.html")
        .render(
            **stylesheet("style.css", "study.css"),
            sections={name: Section(number, TITLES[name]) for number, name in enumerate(names, 1)},
            results=results,
            groups=groups,
            columns=columns_of(results.lines),
            headings=FIGURES,
            looks=looks_of(groups),
            shapes=SHAPES,
            radii=radii_of(groups),
            gains=gains,
            dots=[DotPlot.of(group) for group in groups],
            curves=curves,
            trades=trade_offs(groups),
            samples=_range([line.n for line in results.lines]),
            seeds=_range([line.seeds for line in results.lines]),
            devices=list(dict.fromkeys(device_of(facts) for _, facts in results.environments)),
        )
    )


def device_of(facts: Mapping[str, str]) -> str:
    """The machine in a few words: its accelerator if it names one, else its processor."""
    if facts.get("device", "cpu") != "cpu":
        return facts["device"]
    processor, cores = facts.get("processor", "a processor without a name"), facts.get("cores", "")
    return f"{processor}, {cores} core{'s' if cores != '1' else ''}" if cores else processor


def _has_curve(group: Group) -> bool:
    """Two radii or more, all of one norm, to draw a line through?"""
    norms = {block.radius.rpartition(" ")[0] for block in group.blocks}
    return len(group.blocks) > 1 and len(norms) == 1 and all(block.eps > 0 for block in group.blocks)


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
