"""What a frozen encoder is to the rest of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from advcal_edge.centers import Centers
from advcal_edge.spec import Modality

if TYPE_CHECKING:
    from torch import nn


class Encoder(Protocol):
    """One modality's frozen trunk. Reading these fields needs no torch; `module()` does."""

    @property
    def name(self) -> str:
        """Name in the registry, as `--encoder` takes it."""
        ...

    @property
    def modality(self) -> Modality:
        """The input it takes, in physical bounds."""
        ...

    @property
    def embedding_dim(self) -> int:
        """Width d of the embedding space."""
        ...

    @property
    def license(self) -> str:
        """SPDX identifier of the weights' license."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash (sha256) of the weights that `module()` loads."""
        ...

    def centers(self) -> Centers:
        """The semantic centers this encoder was bound to."""
        ...

    def module(self) -> nn.Module:
        """Physical x (n, ...) -> embedding z (n, d), not yet of unit length; normalisation of x is inside."""
        ...
