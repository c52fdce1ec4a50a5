"""What may be trained around or inside a frozen encoder: nothing, a head, low-rank updates, or several of them."""

from advcal_edge.calibrate.adapters.attach import attach_adapter
from advcal_edge.calibrate.adapters.base import AdaptedModule, Adapter, frozen, trainable

__all__ = ["AdaptedModule", "Adapter", "attach_adapter", "frozen", "trainable"]
