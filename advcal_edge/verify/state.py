"""What a run has done so far, on disk: an interrupted run goes on, shards of a run are put together."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.storage import canonical, sha256_bytes, write_atomic
from advcal_edge.verify.block import Block

SCHEMA = "advcal-edge/verification/1"
RUN = "run.json"


@dataclass(frozen=True, slots=True)
class State:
    """A folder for exactly one run: who takes part, which samples, which budget, in `run.json`."""

    folder: Path

    @classmethod
    def open(cls, root: Path, run: Mapping[str, Any]) -> State:
        """The folder of this run below `root`, new or as it was left.

        Raises:
            BundleError: the folder cannot be written, or holds another run.
        """
        content = {"schema": SCHEMA, **run}
        state = cls(root / sha256_bytes(canonical(content))[:16])
        place = state.folder / RUN
        if not place.is_file():
            write_atomic(place, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
        elif canonical(state.run()) != canonical(content):
            raise BundleError(f"`{place}` tells of another run; expected this one", hint=f"remove `{state.folder}`")
        return state

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[State]:
        """A state that nobody will come back to."""
        with tempfile.TemporaryDirectory(prefix="advcal-edge.") as folder:
            yield cls(Path(folder))

    @classmethod
    def find(cls, root: Path) -> State:
        """The one run below `root`.

        Raises:
            ConfigError: none, or several.
        """
        runs = sorted(path.parent for path in root.glob(f"*/{RUN}"))
        if (root / RUN).is_file():
            runs = [root]
        if len(runs) != 1:
            listed = ", ".join(f"`{run}`" for run in runs)
            raise ConfigError(
                f"`{root}` holds {len(runs)} runs{': ' if runs else ''}{listed}; expected the one to merge",
                hint="name it: `--state FOLDER`" if runs else "run its shards first: `verify B --shard 1/4`",
            )
        return cls(runs[0])

    def run(self) -> dict[str, Any]:
        """What `run.json` says.

        Raises:
            BundleError: it cannot be read, or is of another version.
        """
        place = self.folder / RUN
        try:
            found = json.loads(place.read_bytes())
            schema = found["schema"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BundleError(f"`{place}` describes no run: {error!r}") from error
        if schema != SCHEMA:
            raise BundleError(f"`{place}` has schema `{schema}`; this version reads `{SCHEMA}`")
        return dict(found)

    def block(self, index: int) -> Block | None:
        """The block at `index`, if it is done.

        Raises:
            BundleError: damaged.
        """
        path = self._block(index)
        return Block.from_bytes(path.read_bytes(), str(path)) if path.is_file() else None

    def done(self, index: int) -> bool:
        """Whether the block at `index` is there."""
        return self._block(index).is_file()

    def keep(self, index: int, block: Block) -> None:
        """Write a block that is done.

        Raises:
            BundleError: the disk refuses.
        """
        write_atomic(self._block(index), block.to_bytes())

    def note(self, name: str) -> dict[str, Any] | None:
        """What was noted under `name`, if anything.

        Raises:
            BundleError: damaged.
        """
        path = self._note(name)
        if not path.is_file():
            return None
        try:
            return dict(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise BundleError(f"`{path}` is damaged: {error}", hint="remove it; it is measured again") from error

    def write(self, name: str, note: Mapping[str, Any]) -> None:
        """Note something that is done.

        Raises:
            BundleError: the disk refuses.
        """
        write_atomic(self._note(name), (json.dumps(note, allow_nan=False) + "\n").encode())

    def clear(self) -> None:
        """Remove the folder of a run that has its reports, and the folder above it if nothing else is in there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # other runs are in there
            self.folder.parent.rmdir()

    def _block(self, index: int) -> Path:
        return self.folder / f"block-{index:06d}.npz"

    def _note(self, name: str) -> Path:
        return self.folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.json"
