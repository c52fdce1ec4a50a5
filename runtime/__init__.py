"""The part that runs in deployment: preprocessing, the engine, the embedder. Needs neither torch nor onnx nor typer."""

from advcal_edge.runtime.embedder import Embedder
from advcal_edge.runtime.matching import Match

__all__ = ["Embedder", "Match"]
