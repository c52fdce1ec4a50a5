"""The figures of a calibration by their columns: one definition for what measures, stores and shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Column = Literal["clean", "static", "pgd", "apgd", "square", "worst"]
"""Name of a column in manifests, CSV and JSON."""

HEADINGS: Mapping[Column, str] = {
    "clean": "clean",
    "static": "static PGD",
    "pgd": "adaptive PGD",
    "apgd": "adaptive APGD",
    "square": "black box",
    "worst": "worst case",
}
"""What people read; docs/calibrate.md says which attack each is, and what it sees."""

COLUMNS: tuple[Column, ...] = tuple(HEADINGS)

RECALL: Mapping[str, str] = {"clean": "recall@10 clean", "attacked": "recall@10 attacked"}
"""Columns of retrieval, from a sample to its partner, by what was done to the sample; only where there are partners."""
