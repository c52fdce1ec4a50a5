"""A part of a run, so that any scheduler can distribute a large run over machines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from advcal_edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` of `count`, counted from one."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `2/8`.

        Raises:
            ConfigError: any other text, or a part that does not exist.
        """
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if match is None:
            raise ConfigError(f"`--shard {text}` is no part of a run; expected one like `2/8`")
        index, count = (int(part) for part in match.groups())
        if not 1 <= index <= count:
            raise ConfigError(f"`--shard {text}` does not exist; expected 1/{count} to {count}/{count}")
        return cls(index, count)

    @property
    def first(self) -> bool:
        """Does this part also do the work that is done once per run?"""
        return self.index == 1

    def blocks(self, count: int) -> list[int]:
        """Indices of this part's blocks, of `count` in all."""
        return list(range(self.index - 1, count, self.count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard(1, 1)
