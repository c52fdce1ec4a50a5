"""The picture in `docs/robustness.md`: `python benchmarks/five_figures.py` draws what `adapters.py` measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
TARGET = Path(__file__).parent.parent / "docs" / "five-figures.png"
COLUMNS = {
    "clean": "clean",
    "static": "static",
    "pgd": "adaptive\nPGD",
    "apgd": "adaptive\nAPGD",
    "square": "black\nbox",
    "worst": "worst\ncase",
}
SHOWN = {  # row in the results, name, colour, hatch: told apart without colour too
    None: ("frozen encoder", "#c9ced6", ""),
    "head static ce": ("head, trained on static examples", "#d98b5f", "///"),
    "head adaptive ce": ("head, trained adaptively", "#e8c07d", "..."),
    "lora adaptive ce": ("inside the encoder, trained adaptively (default)", "#2f6f8f", ""),
}


def draw(axes: Axes, results: dict[str, Any], title: str) -> None:
    """Bars with 95 % intervals, one group a column."""
    width = 0.8 / len(SHOWN)
    for index, (variant, (name, colour, hatch)) in enumerate(SHOWN.items()):
        row = results["before"] if variant is None else results["variants"][variant]["after"]
        heights = [100 * row[column]["accuracy"] for column in COLUMNS]
        low = [100 * (row[c]["accuracy"] - row[c]["interval"][0]) for c in COLUMNS]
        high = [100 * (row[c]["interval"][1] - row[c]["accuracy"]) for c in COLUMNS]
        places = [place + (index - (len(SHOWN) - 1) / 2) * width for place in range(len(COLUMNS))]
        axes.bar(places, heights, width, label=name, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        axes.errorbar(places, heights, yerr=[low, high], fmt="none", ecolor="#444", elinewidth=0.8)
    axes.set_title(f"{title}, n = {results['n']}", loc="left", fontsize=10)
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy in percent")
    axes.set_xticks(range(len(COLUMNS)), list(COLUMNS.values()))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)


def main() -> None:
    """Both modalities, one above the other."""
    mpl.rcParams.update({"font.size": 9})
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    titles = {"image": "image (Fashion-MNIST), linf 4/255", "thermal": "thermal (synthetic), linf 4/255"}
    for axes, (modality, title) in zip(figure.subplots(2), titles.items(), strict=True):
        draw(axes, json.loads((RESULTS / f"adapters-{modality}.json").read_text(encoding="utf-8")), title)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(TARGET, dpi=160, metadata={"Software": None})


if __name__ == "__main__":
    main()
