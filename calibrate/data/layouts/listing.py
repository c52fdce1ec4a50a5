"""What a layout finds in the folder of a data set: the files of each class, on both sides of its published split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from advcal_edge import limits
from advcal_edge.errors import InputError

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; right and bottom are the first outside."""


@dataclass(slots=True)
class Side:
    """Files relative to the folder of the set, by label; as text, since a million paths would take half a gigabyte."""

    files: dict[str, list[str]] = field(default_factory=dict)
    boxes: dict[str, list[Box]] = field(default_factory=dict)
    """The part of each file that is the frame, for sets whose frames are cut out of pictures."""
    count: int = 0
    most: int = field(default_factory=lambda: limits.LISTED_FILES.value)

    def add(self, label: str, files: Sequence[str], boxes: Iterable[Box] = ()) -> None:
        """Append files of a class, which may be none.

        Raises:
            InputError: more files than `limits.LISTED_FILES`.
        """
        self.files.setdefault(label, []).extend(files)
        if boxes:
            self.boxes.setdefault(label, []).extend(boxes)
        self.count += len(files)
        if self.count > self.most:
            limits.LISTED_FILES.check(self.count, "the data set", InputError)


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a data set; `held_out` is None if it was published without a split."""

    train: Side
    held_out: Side | None
    partner: Callable[[str], str] | None = None
    """The file of the layout's other sensor that shows the same moment."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of files of each class, on both sides."""
        found: dict[str, int] = {}
        for side in (self.train, self.held_out):
            for label, files in side.files.items() if side else ():
                found[label] = found.get(label, 0) + len(files)
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, sorted: what centers are made of."""
        return tuple(sorted(self.counts))


def spoken(name: str) -> str:
    """A name as words: `crying_baby` is `crying baby`."""
    return " ".join(name.replace("_", " ").split())


def distinct(names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """A label for each key: its first name that no other key shares, or else its first name and the key.

    ImageNet has two classes `crane`, and two whose first name is `maillot`.
    """
    chosen: dict[str, str] = {}
    for rank in range(max(map(len, names.values()), default=0)):
        ranked = {key: words[min(rank, len(words) - 1)] for key, words in names.items() if words}
        uses: dict[str, int] = {}
        for word in ranked.values():
            uses[word] = uses.get(word, 0) + 1
        for key, word in ranked.items():
            if uses[word] == 1 and word not in chosen.values():
                chosen.setdefault(key, word)
    return {key: chosen.get(key) or (f"{words[0]} ({key})" if words else key) for key, words in names.items()}
