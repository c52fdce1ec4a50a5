"""The embedded default encoder: eight small trunks bound to MiniLM's text centers, with their weights."""

from advcal_edge.encoders.bindlite.encoder import PARTNER, Bindlite

__all__ = ["PARTNER", "Bindlite"]
