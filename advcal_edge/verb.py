"""Callable packages: `advcal_edge.verify` is the package and, when called, the function of the same name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class Verb(ModuleType):
    """A package that, when called, runs the function of its own name in the module `__verb__`, imported on first call.

    A function cannot have the same name as its package: importing a submodule would replace it.
    """

    __verb__: str

    @property
    def function(self) -> Callable[..., Any]:
        """The function of this package."""
        function: Callable[..., Any] = getattr(import_module(self.__verb__), self.__name__.rpartition(".")[2])
        return function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def make_verb(package: str, module: str) -> None:
    """Make `package` callable as the function of its own name in `module`."""
    package_module = sys.modules[package]
    package_module.__class__ = Verb
    package_module.__dict__["__verb__"] = module
