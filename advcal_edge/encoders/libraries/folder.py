"""Folders in the layout of transformers: the configuration of the network, and how its input is prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advcal_edge import limits
from advcal_edge.documents import read_object
from advcal_edge.encoders.libraries.tower import load_library, quiet, square
from advcal_edge.encoders.weights_folder import member, open_place
from advcal_edge.errors import InputError, first_line

CODE = ("auto_map", "attn_implementation", "_attn_implementation", "_attn_implementation_internal", "custom_pipelines")
"""Keys of a configuration that name code, some of it to be fetched; none of it is ever run."""

ELSEWHERE = ("backbone", "use_pretrained_backbone", "use_timm_backbone", "architecture")
"""Keys of a configuration that name other models, which the library would fetch or build from another one."""

PUBLISHED = "the file that was published with the weights"
LARGEST = 2**14  # pixels on a side
PREPARATIONS = (("preprocessor_config.json", None), ("processor_config.json", "image_processor"),
                ("processor_config.json", "feature_extractor"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of weights, with the documents beside them."""

    path: Path
    kind: str
    """`model_type` of its configuration."""

    document: Mapping[str, Any]
    config: Any
    """The library's configuration, made from the document."""

    @classmethod
    def open(cls, weights: Path) -> Folder:
        """Read `config.json`, also in a hub's cache.

        Raises:
            InputError: no folder, no configuration, or one that this version of transformers does not know.
            DependencyError: transformers is not installed.
        """
        path = open_place(weights)
        if not path.is_dir():
            raise InputError(
                f"`{path}` is no folder; expected one with `config.json` and weights",
                hint="the folder that was downloaded, or that `save_pretrained` wrote, with `--weights`",
            )
        for entry in sorted(path.iterdir()):
            if entry.is_symlink():
                member(path, entry.name)
        document = read_object(member(path, "config.json"), limits.DOCUMENT_BYTES, InputError)
        library = load_library("transformers", "transformers", "hf", "a tower of transformers")
        kind = document.get("model_type")
        if not isinstance(kind, str) or kind not in library.CONFIG_MAPPING:
            raise InputError(
                f"`config.json` in `{path}` is of the model type `{str(kind)[:80]}`, which transformers"
                f" {library.__version__} does not have; expected a tower of that library",
                hint="code that comes with weights is never run; write a factory of your own: docs/encoders.md",
            )
        _check_values(document, path)
        if "quantization_config" in document:
            hint = "precision is reduced by `export`, and verified there"
            raise InputError(f"the weights in `{path}` are quantised; expected those it was trained with", hint=hint)
        try:
            with quiet():
                config = library.CONFIG_MAPPING[kind].from_dict(_without_code(document))
        except Exception as error:  # the library's own checks of values
            raise InputError(
                f"`config.json` in `{path}` cannot be used: {first_line(error)}", hint=PUBLISHED
            ) from error
        return cls(path, kind, document, config)

    def preparation(self) -> Mapping[str, Any]:
        """What the library's processor does to an input.

        Raises:
            InputError: the folder does not say.
        """
        for name, key in PREPARATIONS:
            if (self.path / name).exists():
                found = read_object(member(self.path, name), limits.DOCUMENT_BYTES, InputError)
                part = found if key is None else found.get(key)
                if isinstance(part, dict):
                    return part
        raise InputError(
            f"`{self.path}` does not say how inputs are normalised; expected `{PREPARATIONS[0][0]}`",
            hint="download it too: it lies beside the weights",
        )


@dataclass(frozen=True, slots=True)
class Frames:
    """Side of square frames, and mean and deviation of each colour in [0, 1]."""

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, folder: Folder) -> Frames:
        """Those that the image processor of a folder makes.

        Raises:
            InputError: it does not say, frames that are not square, or statistics that are not those of three colours.
        """
        settings, where = folder.preparation(), f"the processor's configuration in `{folder.path}`"
        cropped = settings.get("do_center_crop", "crop_size" in settings) and settings.get("crop_size") is not None
        side = square(_sides(settings.get("crop_size" if cropped else "size"), where), where)
        factor = 255.0
        mean, std = [0.0] * 3, [1.0] * 3
        try:
            if settings.get("do_rescale", True):
                factor *= float(settings.get("rescale_factor", 1 / 255))
            if settings.get("do_normalize", True):
                mean, std = ([float(value) for value in settings[key]] for key in ("image_mean", "image_std"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where} says no `image_mean` and `image_std`: {error!r}", hint=PUBLISHED) from error
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0 or factor <= 0 or settings.get("rescale_offset"):
            raise InputError(
                f"{where} says mean {mean}, deviation {std}; expected those of three colours", hint=PUBLISHED
            )
        return cls(side, tuple(value / factor for value in mean), tuple(value / factor for value in std))


def _check_values(document: Mapping[str, Any], path: Path) -> None:
    """Refuse a configuration, at any depth, that is built for too long or whose parts come from elsewhere."""
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        for key, inner in value.items() if isinstance(value, dict) else ():
            layers = [inner] if isinstance(inner, int) else inner if isinstance(inner, list) else []
            if "layers" in key or "depth" in key:
                for count in layers:
                    if isinstance(count, int):
                        limits.TOWER_LAYERS.check(count, f"`{key}` of `config.json` in `{path}`", InputError)
            if key in ELSEWHERE and inner:
                raise InputError(
                    f"`config.json` in `{path}` takes a part from `{str(inner)[:80]}` (`{key}`); nothing is downloaded",
                    hint="expected a model whose parts are all in the folder",
                )
        waiting += list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _without_code(document: Any) -> Any:
    """The same document, at any depth without the keys that name code."""
    if isinstance(document, dict):
        return {key: _without_code(value) for key, value in document.items() if key not in CODE}
    return [_without_code(value) for value in document] if isinstance(document, list) else document


def _sides(size: object, where: str) -> Sequence[int]:
    """Height and width, from any of the forms in which a processor states them."""
    if isinstance(size, dict):
        side = size.get("shortest_edge")
        size = [size.get("height", side), size.get("width", side)]
    stated = size if isinstance(size, list) else [size, size]
    sides = [side for side in stated if isinstance(side, int) and 0 < side <= LARGEST]
    if len(sides) != 2 or len(stated) != 2:
        raise InputError(f"{where} says the size {str(size)[:80]}; expected a height and a width", hint=PUBLISHED)
    return sides
