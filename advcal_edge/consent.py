"""What a bundle may load: the code of its encoder, and weights outside it. Only the user decides, never the bundle."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from advcal_edge import limits
from advcal_edge.bundle import Bundle
from advcal_edge.changes import foundation
from advcal_edge.commands import command
from advcal_edge.documents import read_object
from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.registry import is_built_in
from advcal_edge.storage import inside, tree, write_atomic, write_error

SCHEMA = "advcal-edge/trust/1"


@dataclass(frozen=True, slots=True)
class Wants:
    """What a bundle needs beyond this package and its own folder; None where it needs nothing."""

    bundle: str
    """`Bundle.origin`: consent is for exactly this calibration."""
    code: str | None
    """Name of an encoder that is not built in: `package.module:factory`, or an entry point of another package."""
    weights: str | None
    """Path of a checkpoint outside the bundle, as in the manifest."""

    @classmethod
    def of(cls, bundle: Bundle) -> Wants:
        """Read them from the manifest, without loading anything."""
        section = bundle.manifest.get("encoder")
        if section is None:
            return cls(bundle.origin(), None, None)
        name, stored = section["name"], section["weights"]
        outside = None if stored is None or own_weights(bundle, stored) is not None else stored
        return cls(bundle.origin(), None if is_built_in(name) else name, outside)

    @property
    def nothing(self) -> bool:
        """Does the bundle need no consent?"""
        return self.code is None and self.weights is None


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """An encoder that may be opened: its name, its sensor, and the path of its weights."""

    name: str
    modality: str
    weights: Path | None


@dataclass(frozen=True, slots=True)
class Consent:
    """What the user allowed for one command; what was trusted before (`trust`) also counts."""

    encoder: str | None = None
    """The encoder whose code may run; must be the one that the bundle names."""
    weights: Path | None = None
    """Path of the checkpoint, in place of the bundle's."""
    plan_code: bool = False
    """May plans contain code for the host, which runs when they are loaded?"""
    built: bool = False
    """Was the named engine built by this process? Then it may."""

    def choose_encoder(self, bundle: Bundle) -> EncoderChoice:
        """The encoder of a bundle, if its code and its weights may be loaded.

        Raises:
            BundleError: the bundle needs code or a file that was not allowed, or does not name its encoder.
            ConfigError: `encoder` differs from the one that the bundle names.
        """
        section, wants = bundle.section("encoder"), Wants.of(bundle)
        name, modality, stored = section["name"], section["modality"], section["weights"]
        if self.encoder is not None and self.encoder != name:
            raise ConfigError(
                f"`--encoder {self.encoder}`: `{bundle.path}` was calibrated on the encoder `{name}`",
                hint=f"if you know that code: `--encoder {name}`",
            )
        trusted = read_trust(wants.bundle)
        if trusted is not None and trusted.encoder != name:
            trusted = None
        if wants.code is not None and self.encoder != name and trusted is None:
            raise BundleError(
                f"`{bundle.path}` (bundle {wants.bundle[:12]}) wants to run the code `{name}` as its encoder;"
                " nobody has allowed that here",
                hint=f"if you know that code: add `--encoder {name}`, or trust this bundle from now on:"
                f" `{command('trust', bundle.path)}`",
            )
        if self.weights is not None or stored is None:
            return EncoderChoice(name, modality, self.weights)
        weights = own_weights(bundle, stored)
        if weights is None and trusted is not None:
            weights = trusted.weights
        if weights is None:
            raise BundleError(
                f"`{bundle.path}` (bundle {wants.bundle[:12]}) wants to read the weights `{stored}`, which lie outside"
                " it; nobody has allowed that here",
                hint="say where your copy is: `--weights PATH`; or trust this bundle from now on:"
                f" `{command('trust', bundle.path)}`",
            )
        if not weights.exists():
            raise BundleError(
                f"`{bundle.path}` was calibrated on the weights `{weights}`, which are not there",
                hint="say where they are now: `--weights PATH`",
            )
        return EncoderChoice(name, modality, weights)


NOTHING = Consent()
"""Consent to nothing."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What was allowed for one bundle permanently."""

    encoder: str
    weights: Path | None


def own_weights(bundle: Bundle, stored: str) -> Path | None:
    """Path of weights that the bundle's calibration lists, one file or all files of a folder, with hashes checked.

    Raises:
        BundleError: one of them was changed, or a folder holds other files.
    """
    names = [name for name in foundation(bundle.manifest) if name == stored or name.startswith(f"{stored}/")]
    if not names:
        return None
    place = inside(bundle.path, stored)
    listed = {bundle.file(name) for name in names}
    for path in tree(place):  # an encoder chooses files of a folder itself
        if path not in listed and (path.is_symlink() or not path.is_dir()):
            raise BundleError(
                f"`{path}` lies among the weights of `{bundle.path}`, and its manifest does not list it",
                hint="remove it, or say where your copy of the weights is: `--weights PATH`",
            )
    return place


def trust(bundle: Bundle) -> Wants:
    """Allow a bundle, in exactly this state of calibration, to load what it needs from now on; return what that is.

    Stored in the user's configuration folder, one file per bundle.

    Raises:
        BundleError: the folder cannot be written.
    """
    wants = Wants.of(bundle)
    if not wants.nothing:
        weights = None if wants.weights is None else str(Path(wants.weights).expanduser().absolute())
        document = {"schema": SCHEMA, "encoder": bundle.section("encoder")["name"], "weights": weights}
        path = trust_path(wants.bundle)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
        write_atomic(path, (json.dumps(document, indent=1) + "\n").encode())
    return wants


def withdraw(bundle: Bundle) -> bool:
    """Stop trusting a bundle; returns whether it was trusted."""
    path = trust_path(bundle.origin())
    trusted = path.is_file()
    path.unlink(missing_ok=True)
    return trusted


def read_trust(bundle: str) -> Trust | None:
    """What was allowed for the bundle with this origin, or None.

    Raises:
        ConfigError: the stored file is damaged.
    """
    path = trust_path(bundle)
    if not path.is_file():
        return None
    hint = "remove it, and trust the bundle again with `advcal-edge trust`"
    stored = read_object(path, limits.DOCUMENT_BYTES, ConfigError, hint=hint)
    encoder, weights = stored.get("encoder"), stored.get("weights")
    if stored.get("schema") != SCHEMA or not isinstance(encoder, str) or not isinstance(weights, (str, type(None))):
        raise ConfigError(f"`{path}` does not say what was trusted; expected schema `{SCHEMA}`", hint=hint)
    return Trust(encoder, None if weights is None else Path(weights))


def trust_path(bundle: str) -> Path:
    """Path of the file that stores what the bundle with this origin may load."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(configured) if Path(configured).is_absolute() else Path.home() / ".config"
    return root / "advcal-edge" / "trust" / f"{bundle}.json"
