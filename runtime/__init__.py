"""What runs on the robot: preprocessing, the engine, the embedder. Loads neither torch nor onnx nor typer."""

from advcal_edge.runtime.embedder import Embedder, Match

__all__ = ["Embedder", "Match"]
