"""Does the reference keep enough under attack for the margin to mean anything?

Where both sides stand at zero there is no drop to see, however weak the engine is: at a radius that breaks everything
every engine would pass.
"""

from __future__ import annotations

from collections.abc import Iterator

from advcal_edge.report.comparison import Comparison
from advcal_edge.stats import wilson

STAKES = 3
"""Times the margin that the reference must keep, at the lower end of its interval.

A pass bounds the loss by the margin. Of a reference that keeps p, it then says that the engine keeps all but
margin / p of it: with this factor at least two thirds. At the default margin that takes 6 % worst-case accuracy at
the lower end. The weakest bundle of the presets `fast` and `thorough` has 21.6 % (video, n = 500, docs/calibrate.md).
"""


def nothing_to_lose(worst: Comparison) -> Iterator[str]:
    """The reason for which no verdict is possible, if the reference keeps too little in the worst case."""
    kept, n, needed = int(worst.reference.sum()), len(worst.reference), STAKES * worst.margin
    low = wilson(kept, n).low
    if low > needed:
        return
    mend = "raise `--samples`" if kept > needed * n else "use a smaller `--eps`"
    yield (
        f"nothing left to lose: the reference keeps {kept} of {n} samples in the worst case, at least"
        f" {100 * low:.1f} %; a margin of {100 * worst.margin:g} points needs more than {100 * needed:.3g} %; {mend}"
    )
