"""The page of one look: one self-contained file without scripts."""

from __future__ import annotations

from collections.abc import Sequence

from advcal_edge.errors import DependencyError
from advcal_edge.look.chart import Chart
from advcal_edge.look.plate import LONGEST, Plate, data_uri
from advcal_edge.look.sight import Figure, Sight

MARK = "advcal-edge look"
"""By this a page is known as one that may be replaced."""


def render_page(sights: Sequence[Sight]) -> str:
    """One section for each file; the same files give the same bytes.

    Raises:
        DependencyError: jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ModuleNotFoundError as error:
        raise DependencyError(
            "jinja2",
            extra="report",
            purpose="the page of `look`",
            hint="`--out look.png` needs nothing more; else `pip install 'advcal-edge[report]'`",
        ) from error
    from advcal_edge.report.html import environment, stylesheet

    template = environment().get_template("look.html")
    return template.render(
        **stylesheet("style.css", "look.css"),
        mark=MARK,
        sights=sights,
        is_chart=lambda figure: isinstance(figure, Chart),
        stands_beside=stands_beside,
        data_uri=data_uri,
    )


def stands_beside(figures: Sequence[Figure]) -> bool:
    """Is there a single picture, beside which the facts fit?"""
    first = figures[0] if figures else None
    plates = sum(not isinstance(figure, Chart) for figure in figures)
    return isinstance(first, Plate) and plates == 1 and first.width <= LONGEST
