"""Calibrate frozen Bind-style encoders against adversarial input, export them, and prove the engines as robust."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """`__version__`, from the metadata of the installation, which take longer to read than all else here."""
    if name != "__version__":
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from importlib.metadata import version

    return version("advcal-edge")
