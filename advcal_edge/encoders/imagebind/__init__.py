"""ImageBind (arXiv:2305.05665), six sensors and text in one space; the user provides the checkpoint."""

from advcal_edge.encoders.imagebind.encoder import Imagebind
from advcal_edge.encoders.imagebind.text import load_text

__all__ = ["Imagebind", "load_text"]
