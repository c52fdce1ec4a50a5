"""The page's policy names everything inline that it holds, and strings of a report stay text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from page_reader import Reader
from sample_report import failing, fallen_back, inconclusive, paired, passing, rebuilt, with_parts

from advcal_edge.errors import BundleError
from advcal_edge.report import html
from advcal_edge.report.html import render_html

EXAMPLE = json.loads(
    (Path(__file__).parents[2] / "docs" / "example-report" / "report.json").read_text(encoding="utf-8")
)
REPORTS = {
    "example": EXAMPLE,
    "pass": passing(60),
    "fail": failing(60),
    "inconclusive": inconclusive(60),
    "paired": paired(60),
    "rebuilt": rebuilt(60),
    "fallen back": fallen_back(60),
}
HOSTILE = "</script></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)><style>*{}</style><!--"


class Inline(HTMLParser):
    """Collects what a policy has a say in: style sheets, scripts, attributes, and the policy itself."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.styles: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.classes: set[str] = set()
        self.policy = ""
        self.before: list[str] = []
        self._last = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._last = tag
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy, self.before = str(found["content"]), sorted(self.tags)
        self.tags.add(tag)
        self.attributes |= set(found)
        self.classes |= set(str(found.get("class", "")).split())

    def handle_data(self, data: str) -> None:
        if self._last == "style":
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._last = ""


def rules(policy: str) -> dict[str, list[str]]:
    """Its directives with their sources."""
    return {name: sources for name, *sources in (rule.split() for rule in policy.split(";"))}


@pytest.mark.parametrize("name", REPORTS)
def test_everything_inline_is_in_the_policy_and_nothing_else_may_run(name: str) -> None:
    found = Inline(render_html(REPORTS[name]))
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in found.styles]
    assert rules(found.policy) == {
        "default-src": ["'none'"],
        "img-src": ["data:"],
        "style-src": hashes,
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    assert len(hashes) == 1
    assert found.before == ["head", "html", "meta"]  # what comes before a policy is not bound by it
    assert not found.tags & {"script", "iframe", "object", "embed", "link", "base", "form"}
    assert not [name for name in found.attributes if name == "style" or name.startswith("on")]


def test_every_tint_of_the_matrix_has_a_rule() -> None:
    used = {name for report in REPORTS.values() for name in Inline(render_html(report)).classes if "left-" in name}
    (style,) = Inline(render_html(EXAMPLE)).styles
    assert len(used) > 3
    for name in used:
        assert f".{name} {{ --left: {name.removeprefix('left-')}%; }}" in style
    assert re.findall(r"\.left-(\d+)", style) == [str(n) for n in range(0, 101, 5)]


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of strings; of the entries of a list those of the first."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value[:1]):
            yield from places(inner, (*path, key))


def put(value: Any, path: tuple[Any, ...], found: object) -> Any:
    """The document with another value at one place."""
    if not path:
        return found
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(copy[path[0]], path[1:], found)
    return copy


@pytest.mark.parametrize("name", ["example", "rebuilt"])
def test_markup_in_any_string_of_a_report_stays_text(name: str) -> None:
    picture = dict.fromkeys(("clean", "difference", "adversarial"), "AAAA")
    shown = [{**item, **picture} for item in REPORTS[name]["measured"]["gallery"][:1]]
    report = with_parts(REPORTS[name], "measured", gallery=shown)
    page, rendered = render_html(report), 0
    tags, policy = {*Reader(page).tags, "br", "small", "code", "a"}, Inline(page).policy
    for path in places(report):
        try:
            page = render_html(put(report, path, HOSTILE))
        except BundleError:
            continue
        rendered += 1
        found = Inline(page)
        assert found.tags <= tags, path
        assert not [name for name in found.attributes if name == "style" or name.startswith("on")], path
        assert found.policy == policy
        assert len(found.styles) == 1
    assert rendered > 40


def test_templates_are_compiled_once() -> None:
    assert html.environment() is html.environment()
