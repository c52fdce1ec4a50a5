"""The tables of a study: means over its seeds as JSON, from which Markdown and page are rendered, and cells as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from advcal_edge import limits
from advcal_edge.bundle import Bundle
from advcal_edge.calibrate.study import Cell, Study
from advcal_edge.columns import COLUMNS, RECALL
from advcal_edge.documents import read_object
from advcal_edge.errors import BundleError, ConfigError, DependencyError
from advcal_edge.report.study import FROZEN, METHOD, REPEATED, Figure, Line, Results, markdown
from advcal_edge.report.study_page import render_study
from advcal_edge.storage import write_atomic
from advcal_edge.threat import format_eps

BUILT_IN = "built-in samples"
Done = tuple[Cell, Bundle]


@dataclass(frozen=True, slots=True)
class Written:
    """Files that were written, and what the page lacks if it was not."""

    paths: tuple[Path, ...]
    lacking: DependencyError | None = None


def write_tables(study: Study) -> Written:
    """Write the tables of the cells that are finished, and the page unless a package that it needs is missing.

    Raises:
        ConfigError: no cell is finished, or a bundle is of other settings.
        BundleError: a bundle is damaged, or a table cannot be written.
    """
    done = [(cell, bundle) for cell in study.cells if (bundle := cell.bundle()) is not None]
    if not done:
        raise ConfigError("no cell of this study is finished; expected at least one", hint="leave out `--tables`")
    results = summarise(study, done)
    tables, document = study.results.with_suffix(".csv"), study.results.with_suffix(".json")
    write_atomic(tables, as_csv(done).encode())
    write_atomic(document, results.to_bytes())
    rendered = write_renderings(results, study.results)
    return Written((rendered.paths[0], tables, document, *rendered.paths[1:]), rendered.lacking)


def render_tables(path: Path) -> Written:
    """Write Markdown and page of the JSON document at `path` again, beside it.

    Raises:
        BundleError: it cannot be read, or is none that a study wrote.
    """
    document = read_object(path, limits.REPORT_BYTES, BundleError, hint="give the JSON that a study wrote")
    return write_renderings(Results.from_json(document, path.stem), path)


def write_renderings(results: Results, path: Path) -> Written:
    """Write `path` with the suffixes `.md` and `.html`; both say what the document says.

    Raises:
        BundleError: a file cannot be written.
    """
    table, page = path.with_suffix(".md"), path.with_suffix(".html")
    write_atomic(table, markdown(results.lines).encode())
    try:
        text = render_study(results)
    except DependencyError as error:
        return Written((table,), error)
    write_atomic(page, text.encode())
    return Written((table, page))


def summarise(study: Study, done: Sequence[Done]) -> Results:
    """A line for each cell without its seed, after one for the frozen encoder that it started from."""
    groups: dict[tuple[tuple[str, str], ...], list[Done]] = {}
    frozen: dict[tuple[tuple[str, str], ...], dict[str, Done]] = {}
    for cell, bundle in done:
        values = {key: value for key, value in cell.values.items() if key != REPEATED}
        groups.setdefault(tuple(values.items()), []).append((cell, bundle))
        same = {key: value for key, value in values.items() if not key.startswith(METHOD)}
        frozen.setdefault(tuple(same.items()), {})[cell.values.get(REPEATED, "")] = (cell, bundle)  # one of each seed
    lines = []
    for key, started in frozen.items():
        lines.append(_line({**dict(key), "preset": FROZEN}, [*started.values()], "before"))
        lines += [_line(dict(values), own, "after") for values, own in groups.items() if set(key) <= set(values)]
    budgets: dict[str, dict[str, None]] = {}
    environments: dict[str, int] = {}
    for _, bundle in done:
        for column, text in bundle.section("metrics")["budgets"].items():
            budgets.setdefault(column, {})[text] = None
        facts = json.dumps(bundle.section("environment"))
        environments[facts] = environments.get(facts, 0) + 1
    return Results(
        study.results.name,
        len(study.cells),
        len(done),
        {column: [*texts] for column, texts in budgets.items()},
        [(cells, json.loads(facts)) for facts, cells in environments.items()],
        lines,
    )


def _line(values: Mapping[str, str], done: Sequence[Done], row: str) -> Line:
    bundles = [bundle for _, bundle in done]
    metrics = [bundle.section("metrics")[row] for bundle in bundles]
    n = bundles[0].section("metrics")["n"]
    figures: dict[str, Figure] = {name: Figure.of([each[name]["accuracy"] for each in metrics], n) for name in COLUMNS}
    if "recall" in metrics[0]:
        for state, column in RECALL.items():
            found = [each["recall"][state]["forward"]["recall@10"]["accuracy"] for each in metrics]
            figures[column] = Figure.of(found, n)
    adapters = [bundle.section("adapter") for bundle in bundles]
    shares = [
        0.0 if row == "before" else fmean(adapter[name] for adapter in adapters)
        for name in ("trainable_fraction", "estimated_fraction")
    ]
    return Line(values, _about(*done[0]), len(bundles), n, figures, *shares)


def _about(cell: Cell, bundle: Bundle) -> dict[str, str]:
    """What a cell was measured on."""
    data: Mapping[str, Any] = bundle.section("config")["data"]
    return {
        "encoder": cell.config.encoder,
        "modality": cell.config.modality,
        "data": str(data.get("layout") or data["path"] or BUILT_IN),
        "norm": bundle.threat.norm,
        "eps": format_eps(bundle.threat.eps, bundle.threat.norm),
    }


def as_csv(done: Sequence[Done]) -> str:
    """A row per cell with counts of right samples, after training."""
    keys = list(dict.fromkeys(key for cell, _ in done for key in cell.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "n", *COLUMNS, "parameters", "estimated", "bundle"])
    for cell, bundle in done:
        metrics, adapter = bundle.section("metrics"), bundle.section("adapter")
        counts = [metrics["after"][name]["correct"] for name in COLUMNS]
        own = [cell.values.get(key, "") for key in keys]
        writer.writerow([*own, metrics["n"], *counts, adapter["parameters"], adapter["estimated"], cell.path.name])
    return text.getvalue()
