"""A part of a run, so that any scheduler can spread a large one over machines."""

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
            ConfigError: anything else, or a part that does not exist.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if found is None:
            raise ConfigError(f"`--shard {text}` is no part of a run; expected one like `2/8`")
        index, count = (int(part) for part in found.groups())
        if not 1 <= index <= count:
            raise ConfigError(f"`--shard {text}` does not exist; expected 1/{count} to {count}/{count}")
        return cls(index, count)

    @property
    def first(self) -> bool:
        """Whether this part also does what is done once."""
        return self.index == 1

    def blocks(self, count: int) -> list[int]:
        """Which of `count` blocks are its own."""
        return list(range(self.index - 1, count, self.count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard(1, 1)
