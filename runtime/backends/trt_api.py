"""The two products that build plans from ONNX, TensorRT and TensorRT-RTX: one API, passed on as a value."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.registry import choose

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Sources of a product: modules that may provide it, the extra, and the supported versions."""

    title: str
    modules: tuple[str, ...]
    extra: str
    first: Version
    last: Version

    @property
    def versions(self) -> str:
        """The range of versions as text."""
        return f"{dotted(self.first)} to {dotted(self.last)}"


SOURCES: Mapping[str, Source] = {
    "tensorrt": Source("TensorRT", ("tensorrt",), "trt", (10, 3), (11,)),
    # the wheels install the second module; the vendor's own packages the first
    "tensorrt_rtx": Source("TensorRT-RTX", ("tensorrt_rtx", "tensorrt_rtx_bindings"), "rtx", (1, 4), (1,)),
}
LOGS: dict[Any, Any] = {}
JETPACK = "JetPack brings it: `sudo apt install python3-libnvinfer`, then a venv with `--system-site-packages`"


@dataclass(frozen=True, slots=True)
class Product:
    """A product that can be imported here; `module` is the only access to its API."""

    name: str
    module: Any
    version: Version

    def __str__(self) -> str:
        return f"{SOURCES[self.name].title} {dotted(self.version)}"


def find_product(name: str) -> Product:
    """Import `tensorrt` or `tensorrt_rtx`.

    Raises:
        ConfigError: another name.
        DependencyError: not installed; the hint names the extra, on a Jetson JetPack's package.
        EngineError: a version that this code was not written for.
    """
    source = choose("product", name, SOURCES)
    for candidate in source.modules:
        try:
            module = import_module(candidate)
        except ImportError as error:  # or a missing shared library of an installed module
            if isinstance(error, ModuleNotFoundError) and error.name == candidate:
                continue
            raise EngineError(
                f"the module `{candidate}` is installed and does not load: {error}", hint=installing(source)
            ) from error
        return checked(Product(name, module, integers(str(module.__version__))))
    raise DependencyError(source.modules[0], extra=source.extra, purpose=source.title, hint=installing(source))


def installing(source: Source) -> str:
    """How to install a product on this machine."""
    pip = f"pip install 'advcal-edge[{source.extra}]'"
    jetson = source.title == "TensorRT" and platform.machine() == "aarch64"
    return f"on a Jetson {JETPACK}; on a server {pip}" if jetson else pip


def checked(product: Product) -> Product:
    """Refuse a version that this code does not support.

    Raises:
        EngineError: too old or too new.
    """
    source = SOURCES[product.name]
    if product.version < source.first or product.version[: len(source.last)] > source.last:
        raise EngineError(
            f"found {product}; expected {source.title} {source.versions}", hint="install a version in that range"
        )
    return product


def integers(version: str) -> Version:
    """The numbers of a version, for comparison: `10.13.3.9` is (10, 13, 3, 9), in which 9 comes before 10."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+")[0])[:4])


def dotted(version: Version) -> str:
    """A version in the usual notation."""
    return ".".join(map(str, version))


def collecting_log(module: Any) -> Any:
    """The logger for `module`, emptied: it collects errors in `errors` and prints nothing; errors are raised.

    There is one per module: TensorRT keeps the first one it gets and sends some errors only there.
    """
    if module not in LOGS:
        LOGS[module] = new_log(module)
    LOGS[module].errors.clear()
    return LOGS[module]


def new_log(module: Any) -> Any:
    """Create a logger; its base class is in `module`."""

    class Log(module.ILogger):  # type: ignore[misc]  # the base class is known at run time only
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) == int(module.ILogger.ERROR):  # INTERNAL_ERROR, one level below, also carries notes
                self.errors.append(message)

    return Log()
