"""Packages that can be called: `advcal_edge.verify` is the package and, called, the function that it is named after."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class Verb(ModuleType):
    """A package that, called, runs the function of its own name in the module `__verb__`, imported at the first call.

    A function could not stand beside its package under the same name: importing a submodule would replace it.
    """

    __verb__: str

    @property
    def function(self) -> Callable[..., Any]:
        """The function behind the name."""
        found: Callable[..., Any] = getattr(import_module(self.__verb__), self.__name__.rpartition(".")[2])
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def make_verb(package: str, module: str) -> None:
    """Let `package` be called as the function of its own name in `module`."""
    found = sys.modules[package]
    found.__class__ = Verb
    found.__dict__["__verb__"] = module
