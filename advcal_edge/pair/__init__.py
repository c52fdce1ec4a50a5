"""Two models of one task that nobody calibrated here, in the form in which `verify` compares them: a comparison folder.

`make_comparison` reads the reference and labelled samples, and writes a folder like a bundle, without an adapter. Any
number of candidates is then attacked with `verify(folder, VerifyOptions(engine=...))`.
"""

from advcal_edge.pair.folder import Made, make_comparison
from advcal_edge.pair.options import KINDS, PairOptions

__all__ = ["KINDS", "Made", "PairOptions", "make_comparison"]
