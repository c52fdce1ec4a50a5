"""Two models without a bundle, for `advcal-edge verify`: options, and the comparison folder that is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from advcal_edge.bundle import Bundle
from advcal_edge.cli.calibrate import remember
from advcal_edge.cli.centers import read_lines
from advcal_edge.cli.console import Console
from advcal_edge.cli.options import MODALITIES
from advcal_edge.cli.sensor_settings import read_sensor_settings
from advcal_edge.commands import command
from advcal_edge.errors import ConfigError

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Two models: labelled samples, one folder per class, or a csv with path and label."),
]
ModalityName = Annotated[
    str | None, typer.Option("--modality", help=f"Two models: their sensor, {MODALITIES}; default: `image`.")
]
Kind = Annotated[str | None, typer.Option("--kind", help="Two models: `encoder` or `classifier`; default: `encoder`.")]
CentersFile = Annotated[
    Path | None,
    typer.Option("--centers", help="Two models: file from `advcal-edge centers`; else the encoder's, or class means."),
]
Labels = Annotated[
    Path | None,
    typer.Option("--labels", help="Two models: text file, one label a logit; default: the class folders, sorted."),
]
GradientGraph = Annotated[
    Path | None,
    typer.Option("--gradient-graph", help="Two models: ONNX graph (x, v) -> (z, J^T v) of the reference."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Two models: a setting of the sensor, like `input.rate=200`."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Two models: skip unreadable files and count them.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Two models: folder for samples and reports; default: `REFERENCE.comparison`."),
]


@dataclass(frozen=True, slots=True)
class Pair:
    """The options of `verify` that are about two models without a bundle."""

    data: Path | None
    modality: str | None
    kind: str | None
    centers: Path | None
    labels: Path | None
    gradient_graph: Path | None
    settings: list[str] | None
    skip_bad: bool
    out: Path | None

    @property
    def given(self) -> list[str]:
        """Flags of the options that were given."""
        named = {
            "--data": self.data,
            "--modality": self.modality,
            "--kind": self.kind,
            "--centers": self.centers,
            "--labels": self.labels,
            "--gradient-graph": self.gradient_graph,
            "--set": self.settings,
            "--skip-bad": self.skip_bad,
            "--out": self.out,
        }
        return [flag for flag, value in named.items() if value]

    def refuse(self, because: str) -> None:
        """Refuse options that have no meaning here.

        Raises:
            ConfigError: one was given.
        """
        if self.given:
            raise ConfigError(
                f"`{self.given[0]}` is about two models without a bundle; {because}",
                hint=f"leave out `{self.given[0]}`",
            )

    def compare(
        self, console: Console, engine: str | None, reference: str, shared: Mapping[str, Any]
    ) -> tuple[Bundle, str | None]:
        """Make the comparison folder, and name the encoder whose code the user allowed by naming it.

        `shared` are options of `verify` that are also about bundles, by the name that `PairOptions` has for them.

        Raises:
            ConfigError: engine, reference or data are missing, or options exclude each other.
            InputError, EngineError, BundleError, DependencyError: as for `make_comparison`.
        """
        missing = list(self._missing(engine, reference))
        if missing or self.data is None:
            pair = command("verify", "--engine", "FILE", "--reference", "FILE", "--data", "FOLDER")
            raise ConfigError(
                f"`verify` needs a bundle, or two models and samples; missing for these: {', '.join(missing)}",
                hint=pair if self.given else command("verify", "BUNDLE"),
            )
        from advcal_edge.pair import PairOptions, make_comparison

        options = PairOptions(
            reference,
            self.data,
            self.modality or "image",
            self.kind or "encoder",
            self.centers,
            None if self.labels is None else read_lines(self.labels),
            self.gradient_graph,
            settings=read_sensor_settings(self.settings or [], assume_units=False),
            skip_bad=self.skip_bad,
            **shared,
        )
        made = make_comparison(options, self.out or Path(f"{options.name}.comparison"))
        console.say(
            f"compare  with {reference}: {made.right} of {made.attacked} clean samples right,"
            f" {len(made.centers.labels)} classes, {made.centers.source}; in {made.bundle.path}"
        )
        if not made.sees:
            console.say(
                f"no gradient of {reference}: black-box and label-only attacks alone, so no verdict is a pass; give"
                " `--gradient-graph FILE`, or the model in torch: `--reference package.module:factory`"
            )
        if not options.is_graph:
            remember(made.bundle, console)
        return made.bundle, None if options.is_graph else reference

    def _missing(self, engine: str | None, reference: str) -> Iterator[str]:
        if engine is None:
            yield "`--engine`"
        if reference in ("auto", "torch", "onnx"):
            yield "`--reference`"
        if self.data is None:
            yield "`--data`"
