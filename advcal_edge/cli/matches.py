"""How the answers of an embedder are shown: labels, scores, and whether they may be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from advcal_edge.runtime import Embedder, Match


def rule_line(embedder: Embedder) -> Iterator[str]:
    """The rule by which answers are sure, if there is one."""
    if (rule := embedder.rule) is not None:
        yield (
            f"sure   where the best label leads by more than {rule.threshold:.4g}; of such answers at most"
            f" {100 * rule.bound:.1f} % were wrong under attack (95 %)"
        )


def header(first: str, embedder: Embedder) -> tuple[str, ...]:
    """Titles of the columns of `rows`."""
    return (first, "label", "score", *(("sure",) if embedder.rule is not None else ()))


def rows(names: Sequence[object], matches: Sequence[Sequence[Match]]) -> Iterator[tuple[str, ...]]:
    """One row per label; the name of what was embedded is in its first, and whether the answer is sure, by a rule."""
    for name, best in zip(names, matches, strict=True):
        for rank, match in enumerate(best):
            told = () if match.sure is None else ("" if rank else ("no", "yes")[match.sure],)
            yield str(name) if rank == 0 else "", match.label, f"{match.score:.3f}", *told
