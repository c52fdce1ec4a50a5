"""Calibrate frozen Bind-style encoders against adversarial input, export them, and prove the engine as robust."""

from importlib.metadata import version

__version__ = version("advcal-edge")
