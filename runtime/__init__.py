"""The part that runs in deployment: preprocessing, the engine, the embedder. Needs neither torch nor onnx nor typer."""

from advcal_edge.runtime.embedder import Embedder, Match

__all__ = ["Embedder", "Match"]
