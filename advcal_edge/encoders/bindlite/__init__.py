"""The embedded default encoder: two small trunks bound to MiniLM's text centers, weights included."""

from advcal_edge.encoders.bindlite.encoder import Bindlite

__all__ = ["Bindlite"]
