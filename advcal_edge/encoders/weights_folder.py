"""Folders of weights: one file, shards with their index, or the cache of a hub, whose files are links."""

from __future__ import annotations

import re
from pathlib import Path

from advcal_edge import limits
from advcal_edge.documents import read_object
from advcal_edge.encoders.naming import listed
from advcal_edge.errors import InputError
from advcal_edge.storage import read_bytes

FILES = ("model.safetensors", "pytorch_model.bin")
INDEX = ".index.json"
SHARD = re.compile(r"\w[\w.-]*\.(?:safetensors|bin)")
CACHE = "models--"
REVISION = re.compile(r"\w[\w.-]{0,79}")
AGAIN = "download the folder again"


def open_place(weights: Path) -> Path:
    """The file or folder that `weights` leads to: itself, or the snapshot if it is a model in a hub's cache.

    A cache is laid out as `models--OWNER--NAME/refs/main`, which names one of `snapshots/`.

    Raises:
        InputError: a cache without a snapshot, or with several and none of them named `main`.
    """
    snapshots = weights / "snapshots"
    if not weights.absolute().name.startswith(CACHE) or not snapshots.is_dir():
        return weights
    main = weights / "refs" / "main"
    if main.is_file():
        name = read_bytes(main, limits.DOCUMENT_BYTES, InputError).decode("utf-8", "replace").strip()
        if not REVISION.fullmatch(name):
            raise InputError(
                f"`{main}` names `{name[:40]}`; expected the name of a folder in `{snapshots}`", hint=AGAIN
            )
    else:
        names = sorted(path.name for path in snapshots.iterdir())
        if len(names) != 1:
            raise InputError(
                f"`{snapshots}` holds {listed(names) or 'nothing'}, and no `refs/main` says which; expected one",
                hint=f"name one: `--weights {snapshots / names[0]}`" if names else AGAIN,
            )
        (name,) = names
    found = snapshots / name
    if found.is_symlink() or not found.is_dir():
        raise InputError(f"`{weights}` has no folder `snapshots/{name}`, which its `refs/main` names", hint=AGAIN)
    return found


def find_weights(folder: Path, files: tuple[str, ...] = FILES) -> Path:
    """The file of weights in `folder`, or the index of its shards.

    Raises:
        InputError: there is none, or it is a link that leads out of the folder.
    """
    for name in (name for file in files for name in (file, file + INDEX)):
        if (folder / name).is_symlink() or (folder / name).is_file():
            return member(folder, name)
    raise InputError(
        f"`{folder}` has no weights; expected {' or '.join(f'`{name}`' for name in files)}, or shards with their index",
        hint="the folder that was downloaded, or that `save_pretrained` wrote, with `--weights`",
    )


def member(folder: Path, name: str) -> Path:
    """The file `name` of `folder`; a link must stay there, or lead from a snapshot to its cache's own `blobs`.

    Raises:
        InputError: there is no such file, or its link leads elsewhere or nowhere.
    """
    path, within = folder / name, [folder.resolve()]
    if within[0].parent.name == "snapshots" and within[0].parent.parent.name.startswith(CACHE):
        within.append(within[0].parent.parent / "blobs")
    try:
        place = path.resolve(strict=True)
    except FileNotFoundError as error:
        raise InputError(f"there is no file `{path}`", hint=AGAIN) from error
    except (OSError, RuntimeError) as error:  # a circle of links
        raise InputError(f"`{path}` is a link that leads nowhere: {error}", hint=AGAIN) from error
    if not any(place.is_relative_to(allowed) for allowed in within):
        raise InputError(
            f"`{path}` is a link to `{place}`, out of its folder; expected a file inside it",
            hint="copy that file into the folder, if you mean it",
        )
    return path


def read_index(path: Path) -> dict[str, Path]:
    """The file of every tensor, by the tensor's name, from an index of shards.

    Raises:
        InputError: no index, a name of a file that leaves the folder, or shards that are not there.
    """
    found = read_object(path, limits.TENSOR_HEADER_BYTES, InputError, hint=AGAIN).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise InputError(f"`{path}` has no `weight_map`; expected the file of every tensor", hint=AGAIN)
    names = set()
    for tensor, name in found.items():
        if not isinstance(name, str) or not SHARD.fullmatch(name):
            raise InputError(
                f"`{path}` places `{tensor[:80]}` in `{str(name)[:80]}`; expected the name of a file beside it",
                hint=AGAIN,
            )
        names.add(name)
    missing = sorted(name for name in names if not (path.parent / name).exists())
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(names)} shards of `{path}` are not there: {listed(missing)}", hint=AGAIN
        )
    places = {name: member(path.parent, name) for name in names}
    return {tensor: places[name] for tensor, name in found.items()}
