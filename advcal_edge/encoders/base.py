"""Interface of frozen encoders and text towers, how they are opened by name, and centers from text."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from advcal_edge.centers import Centers
from advcal_edge.declarations import Setting
from advcal_edge.errors import AdvcalError, ConfigError, InputError
from advcal_edge.registry import find_encoder, find_text_tower, is_built_in
from advcal_edge.spec import Modality

if TYPE_CHECKING:
    from torch import nn

GUIDE = "docs/encoders.md has a complete example"
FIELDS = ("name", "modality", "embedding_dim", "license", "fingerprint", "metadata", "centers", "module")


class Encoder(Protocol):
    """One modality's frozen trunk. These fields do not need torch; `module()` does."""

    @property
    def name(self) -> str:
        """Its display name."""
        ...

    @property
    def modality(self) -> Modality:
        """Its input, in physical bounds."""
        ...

    @property
    def embedding_dim(self) -> int:
        """Width d of the embedding space."""
        ...

    @property
    def license(self) -> str:
        """License of the weights: SPDX identifier or text."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash (sha256) of the weights that `module()` loads."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Further data of the checkpoint for the manifest, such as its logit scale; plain types.

        `notes`, a list of texts, is what was changed in reading it; the command line shows it.
        """
        ...

    def centers(self) -> Centers | None:
        """The semantic centers of this encoder; None if it has none."""
        ...

    def module(self) -> nn.Module:
        """Physical x (n, ...) -> embedding z (n, d), not normalised; normalisation of x is inside."""
        ...


class TextTower(Protocol):
    """The text tower of a Bind-style model, which computes semantic centers."""

    @property
    def temperature(self) -> float:
        """Divisor of similarities: the inverse of the checkpoint's logit scale."""
        ...

    @property
    def source(self) -> str:
        """Name of the model, for the centers' file."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What was changed in reading the checkpoint, for the user."""
        ...

    def embed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-norm embeddings (n, d) of prompts."""
        ...


def open_encoder(name: str, modality: str, weights: Path | None) -> Encoder:
    """The encoder `name` for one modality: built in, a library's (`timm:MODEL`), or your own `package.module:factory`.

    Raises:
        ConfigError: no such encoder, none for this modality, weights missing or not expected, or a factory that does
            not return an encoder.
        InputError: a checkpoint that cannot be used.
    """
    factory = find_encoder(name)
    if not callable(factory):
        found = type(factory).__name__
        raise ConfigError(f"`{name}` is a {found}; expected a function (modality, weights)", hint=GUIDE)
    try:
        encoder = factory(modality, weights)
    except AdvcalError:
        raise
    except Exception as error:
        if is_built_in(name):
            raise  # of this program: nothing that the caller could mend
        first = next(iter(str(error).splitlines()), "")[:200]
        raise ConfigError(f"`{name}` fails for `{modality}`: {type(error).__name__}: {first}", hint=GUIDE) from error
    _check_fields(name, encoder)
    if encoder.modality.name != modality:
        raise ConfigError(f"`{name}` returned an encoder of `{encoder.modality.name}`; asked for `{modality}`")
    return cast(Encoder, encoder)


def _check_fields(name: str, encoder: Any) -> None:
    """Refuse an encoder without one of the fields, or with a value that a bundle could not hold."""
    fields: dict[str, Any] = {}
    for field in FIELDS:
        try:
            fields[field] = getattr(encoder, field)
        except Exception as error:
            reason = "" if isinstance(error, AttributeError) else f" ({type(error).__name__}: {error})"
            raise ConfigError(
                f"`{name}` returned a {type(encoder).__name__} without `{field}`{reason[:200]}; expected an encoder",
                hint=GUIDE,
            ) from error
    dim = fields["embedding_dim"]
    for field, right, expected in (
        ("name", isinstance(fields["name"], str) and fields["name"], "a text"),
        ("modality", isinstance(fields["modality"], Modality), "one of `advcal_edge.spec`, like `image(224)`"),
        ("embedding_dim", isinstance(dim, int) and not isinstance(dim, bool) and dim > 0, "a whole number above 0"),
        ("license", isinstance(fields["license"], str), "a text, like an SPDX identifier"),
        ("fingerprint", re.fullmatch("[0-9a-f]{64}", str(fields["fingerprint"])), "a sha256 of 64 digits"),
        ("metadata", _is_plain(fields["metadata"]), "a dictionary of plain values"),
        ("centers", callable(fields["centers"]), "a method"),
        ("module", callable(fields["module"]), "a method"),
    ):
        if not right:
            found = reprlib.repr(fields[field])
            raise ConfigError(
                f"`{field}` of the encoder that `{name}` returned is {found}; expected {expected}", hint=GUIDE
            )


def _is_plain(value: object) -> bool:
    """Can JSON hold this mapping?"""
    try:
        return isinstance(value, Mapping) and bool(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return False


def notes_of(encoder: Encoder) -> tuple[str, ...]:
    """What was changed in reading an encoder's checkpoint, in words: the texts in its metadata under `notes`."""
    found = encoder.metadata.get("notes")
    return tuple(note for note in found if isinstance(note, str)) if isinstance(found, (list, tuple)) else ()


def fit_sensor(encoder: Encoder, settings: Mapping[str, Setting]) -> Encoder:
    """The same encoder for a sensor with other settings; its input normalisation is adapted.

    Raises:
        ConfigError: a setting the modality does not have, or an encoder whose sensor cannot be changed.
    """
    if not settings:
        return encoder
    modality = encoder.modality.with_settings(settings)
    changeable: Any = encoder
    if not is_dataclass(changeable) or isinstance(changeable, type):
        raise ConfigError(
            f"the encoder `{encoder.name}` is a {type(encoder).__name__}, whose sensor cannot be changed",
            hint="leave out `--set input...`, or make the encoder a dataclass with the field `modality`",
        )
    return cast(Encoder, replace(changeable, modality=modality))


def open_text_tower(name: str, weights: Path) -> TextTower:
    """The text tower of the encoder `name`.

    Raises:
        ConfigError: this encoder has none.
        InputError: a checkpoint that cannot be used.
        DependencyError: the tokenizer's library is not installed.
    """
    return cast(TextTower, find_text_tower(name)(weights))


def text_centers(tower: TextTower, labels: Sequence[str], templates: Sequence[str] = ("{}",)) -> Centers:
    """One center per label (k, d): the unit-norm mean of the unit-norm embeddings of its prompts.

    Raises:
        InputError: fewer than two labels, a repeated label, or a template without `{}`.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise InputError(f"the template `{template}` holds no single `{{}}`; expected one place for the label")
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if list(labels).count(label) > 1)
        raise InputError(f"the label `{twice}` occurs twice; labels must be unique")
    prompts = [template.replace("{}", label) for label in labels for template in templates]
    means = tower.embed(prompts).reshape(len(labels), len(templates), -1).mean(axis=1)
    vectors = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    words = "" if tuple(templates) == ("{}",) else f", mean of the prompts {' | '.join(templates)}"
    return Centers(tuple(labels), vectors, tower.temperature, f"{tower.source}{words}")
