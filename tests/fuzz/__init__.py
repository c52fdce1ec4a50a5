"""Hostile input on purpose: every kind of file that this package reads, mutated, and what must never follow from it.

`python -m tests.fuzz` runs it by hand, `test_fuzz.py` for a minute in CI. `docs/fuzzing.md` says how to read a finding.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]  # `tiny`, which writes bundles for all tests
