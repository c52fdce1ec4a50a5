"""What the calibrated model makes of the held-out samples, stored when its figures were measured.

Whatever serves as that model later, a torch module or an exported graph, must give the same embeddings. A comparison
folder holds those of the model with which it compares.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from advcal_edge.errors import BundleError
from advcal_edge.probe import HINT, reading

if TYPE_CHECKING:
    from advcal_edge.bundle import Bundle
    from advcal_edge.checked_file import CheckedFile

ANCHOR = "anchor.npz"
Floats = NDArray[np.float32]


def anchor_bytes(z: Floats) -> bytes:
    """Unit-norm embeddings z (n, d) of all held-out samples in their order, as npz without pickle."""
    buffer = io.BytesIO()
    np.savez(buffer, z=z.astype(np.float32, copy=False))
    return buffer.getvalue()


def distances(z: Floats, anchor: Floats) -> NDArray[np.float64]:
    """Distance (n,) of embeddings z (n, d) from those stored for the same samples."""
    found: NDArray[np.float64] = np.linalg.norm(z.astype(np.float64) - anchor, axis=1)
    return found


@dataclass(frozen=True, slots=True)
class AnchorFile:
    """The stored embeddings (n, d), read block by block."""

    file: CheckedFile

    @classmethod
    def open(cls, bundle: Bundle, n: int, width: int) -> AnchorFile:
        """The anchor of a bundle with `n` held-out samples and centers of this width; its hash is checked.

        Raises:
            BundleError: there is none, it was changed, or it is not one embedding a sample.
        """
        if not bundle.has(ANCHOR):
            raise BundleError(
                f"bundle `{bundle.path}` has no `{ANCHOR}`: nothing shows that the reference is the model that was"
                " calibrated",
                hint=remedy(bundle),
            )
        file = bundle.checked(ANCHOR)
        with reading(file) as archive, archive.stream("z") as (_, shape, dtype):
            if shape != (n, width) or dtype != np.float32:
                raise BundleError(
                    f"`{file.path}` holds embeddings {shape} of {dtype}; expected ({n}, {width}) of float32, one a"
                    " sample of the probe",
                    hint=remedy(bundle),
                )
        return cls(file)

    def blocks(self, size: int, n: int) -> Iterator[Floats]:
        """The embeddings of the first `n` samples, `size` at a time.

        Raises:
            BundleError: the file is damaged, or was changed since it was hashed.
        """
        with reading(self.file) as archive:
            yield from archive.rows("z", size, n)


def remedy(bundle: Bundle) -> str:
    """The command that makes the anchor: nothing adds it later, since it would testify to what is there by then."""
    if bundle.comparison is not None:
        return "make the folder again: `advcal-edge verify --engine FILE --reference FILE --data DIR --out FOLDER`"
    return HINT
