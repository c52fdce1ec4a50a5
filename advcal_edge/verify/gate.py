"""From comparisons and checks to one word."""

from __future__ import annotations

from collections.abc import Sequence

from advcal_edge.verify.check import Check
from advcal_edge.verify.comparison import Comparison, Verdict


def decide(
    comparisons: Sequence[Comparison], checks: Sequence[Check], doubts: Sequence[str] = ()
) -> tuple[Verdict, list[str]]:
    """Fail where anything required failed, inconclusive where anything is open, else pass; with the reasons.

    `doubts` are reasons from elsewhere to leave the verdict open.
    """
    failed = [
        f"check {c.name}: {c.shown}, limit {c.limit} ({c.why})" for c in checks if c.required and c.status == "fail"
    ]
    failed += [
        f"{c.name} fell {100 * c.drop:.1f} points [{100 * c.interval.low:.1f}, {100 * c.interval.high:.1f}], "
        f"allowed {100 * c.margin:g}"
        for c in comparisons
        if c.decides and c.verdict == "fail"
    ]
    if failed:
        return "fail", failed
    open_ = [f"check {c.name} was skipped: {c.why}" for c in checks if c.required and c.status == "skipped"]
    open_ += [
        f"{c.name} drop {100 * c.drop:.1f} points [{100 * c.interval.low:.1f}, {100 * c.interval.high:.1f}] straddles "
        f"{100 * c.margin:g}" + (f"; about {c.samples_to_decide} samples would decide" if c.samples_to_decide else "")
        for c in comparisons
        if c.decides and c.verdict == "inconclusive"
    ]
    open_ += doubts
    return ("inconclusive", open_) if open_ else ("pass", [])
