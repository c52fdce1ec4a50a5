"""The same engine built again from the bundle, as a second machine or a second day would build it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from advcal_edge.bundle import Bundle
from advcal_edge.errors import ConfigError
from advcal_edge.runtime.graph import graph_digest

if TYPE_CHECKING:
    from advcal_edge.cli.request import Request
    from advcal_edge.export.dialect import Precision


def rebuild(bundle: Bundle, engine: Mapping[str, Any], request: Request, workshop: Path) -> Iterator[Path]:
    """Export one engine again `request.rebuilds` times, each from nothing; yields builds with bytes not seen before.

    Raises:
        ConfigError: an engine that is not the bundle's own.
        DependencyError: torch, onnx or onnxscript is missing.
        ExportError: it cannot be built.
    """
    if not engine["listed"]:
        raise ConfigError(
            f"`--rebuilds` and `--engine {engine['path']}`: only graphs of the bundle can be built again",
            hint="leave one of the two out",
        )
    from advcal_edge.calibrate.deploy import module_from_bundle
    from advcal_edge.export.dependencies import check_dependencies
    from advcal_edge.export.graph_maker import GraphMaker

    check_dependencies()
    precision = cast("Precision", engine["precision"])
    opset = int(bundle.section("graphs").get("opset", 20))
    seen = {engine["sha256"]}
    for number in range(request.rebuilds):
        folder = workshop / f"{precision}-{number}"
        folder.mkdir()
        maker = GraphMaker(module_from_bundle(bundle, request.weights), bundle, folder, opset)
        maker.make("forward", precision)
        path = maker.path("forward", precision)
        digest = graph_digest(path)
        if digest not in seen:
            seen.add(digest)
            yield path
