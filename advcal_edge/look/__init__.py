"""What a sensor's file holds, how it was understood, and what the encoder gets: facts and figures for the eye."""

from advcal_edge.look.run import look
from advcal_edge.look.sight import Refusal, Sight

__all__ = ["Refusal", "Sight", "look"]
