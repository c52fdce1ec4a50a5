"""Progress of a run on disk, so that interrupted runs resume and shards can be merged."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from advcal_edge.documents import read_object
from advcal_edge.errors import BundleError, BundleInUseError, ConfigError
from advcal_edge.limits import BLOCK_BYTES, DOCUMENT_BYTES, REPORT_BYTES
from advcal_edge.lock import Lock, beside
from advcal_edge.storage import canonical, read_bytes, sha256_bytes, write_atomic
from advcal_edge.verify.block import Block

SCHEMA = "advcal-edge/verification/3"
RUN = "run.json"


@dataclass(frozen=True, slots=True)
class State:
    """A folder for exactly one run; `run.json` holds its models, samples and budget.

    Several processes may work on the same run, as shards do: blocks and notes are written atomically. Only the last
    process clears the folder.
    """

    folder: Path
    _lock: Lock | None = field(default=None, compare=False, repr=False)

    @classmethod
    def open(cls, root: Path, run: Mapping[str, Any]) -> State:
        """Open the folder of this run below `root`, new or resumed; `close` or `clear` it in the end.

        Raises:
            BundleError: the folder cannot be written, or holds another run.
        """
        content = {"schema": SCHEMA, **run}
        folder = root / sha256_bytes(canonical(content))[:16]
        for place in (folder, folder / RUN):
            if place.is_symlink():
                raise BundleError(f"`{place}` is a link; expected the state of a run", hint=f"remove `{place}`")
        state = cls(folder, Lock(beside(folder), shared=True))
        state._share()
        try:
            place = folder / RUN
            if not place.is_file():
                write_atomic(place, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
            elif canonical(state.run()) != canonical(content):
                raise BundleError(f"`{place}` tells of another run; expected this one", hint=f"remove `{folder}`")
        except BaseException:
            state.close()
            raise
        return state

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[State]:
        """A state that is deleted afterwards."""
        with tempfile.TemporaryDirectory(prefix="advcal-edge.") as folder:
            yield cls(Path(folder))

    @classmethod
    def find(cls, root: Path) -> State:
        """Find the one run below `root`.

        Raises:
            ConfigError: no run, or several.
        """
        runs = sorted(path.parent for path in root.glob(f"*/{RUN}"))
        if (root / RUN).is_file():
            runs = [root]
        if len(runs) != 1:
            listed = ", ".join(f"`{run}`" for run in runs)
            raise ConfigError(
                f"`{root}` holds {len(runs)} runs{': ' if runs else ''}{listed}; expected the one to merge",
                hint="name it: `--state FOLDER`" if runs else "run its shards first, each like `--shard 1/4`",
            )
        return cls(runs[0])

    def run(self) -> dict[str, Any]:
        """The content of `run.json`.

        Raises:
            BundleError: it cannot be read, or has another version.
        """
        place = self.folder / RUN
        document = read_object(place, DOCUMENT_BYTES, BundleError, hint=f"remove `{self.folder}`")
        if document.get("schema") != SCHEMA:
            raise BundleError(
                f"`{place}` has schema `{document.get('schema')}`; this version reads `{SCHEMA}`",
                hint=f"remove `{self.folder}`, or merge with the version that wrote it",
            )
        return document

    def block(self, index: int) -> Block | None:
        """The block at `index`, if it is done.

        Raises:
            BundleError: damaged.
        """
        path = self._block(index)
        return Block.from_bytes(read_bytes(path, BLOCK_BYTES, BundleError), str(path)) if path.is_file() else None

    def done(self, index: int) -> bool:
        """Is the block at `index` done?"""
        return self._block(index).is_file()

    def keep(self, index: int, block: Block) -> None:
        """Write a block that is done.

        Raises:
            BundleError: it cannot be written.
        """
        write_atomic(self._block(index), block.to_bytes())

    def note(self, name: str) -> dict[str, Any] | None:
        """Read the note `name`, if it exists.

        Raises:
            BundleError: damaged.
        """
        path = self._note(name)
        if not path.is_file():
            return None
        return read_object(path, REPORT_BYTES, BundleError, hint="remove it; it is measured again")

    def write(self, name: str, note: Mapping[str, Any]) -> None:
        """Write the note `name` for a step that is done.

        Raises:
            BundleError: it cannot be written.
        """
        write_atomic(self._note(name), (json.dumps(note, allow_nan=False) + "\n").encode())

    def close(self) -> None:
        """Stop using the folder; another process may then clear it."""
        if self._lock is not None:
            self._lock.release()

    def clear(self) -> None:
        """Close a run whose reports are written, and remove its folder unless another process still uses it.

        The parent folder is removed too if it is empty.
        """
        self.close()
        alone = Lock(beside(self.folder))
        try:
            alone.take(self.folder, wait=0)
        except BundleInUseError:  # the other process will write its own reports and clear the folder
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        alone.release()
        with suppress(OSError):  # it holds other runs
            self.folder.parent.rmdir()

    def _share(self) -> None:
        if self._lock is not None:
            self._lock.take(self.folder)

    def _block(self, index: int) -> Path:
        return self.folder / f"block-{index:06d}.npz"

    def _note(self, name: str) -> Path:
        return self.folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.json"
