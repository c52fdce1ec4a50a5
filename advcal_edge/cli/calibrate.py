"""`advcal-edge calibrate`: train an adapter for a frozen encoder, write a bundle, show accuracy before and after."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advcal_edge.cli.console import Console
from advcal_edge.cli.decoders import keep_decoders_quiet
from advcal_edge.cli.options import MODALITIES, AssumeUnits, Json, terms
from advcal_edge.columns import HEADINGS
from advcal_edge.commands import command
from advcal_edge.config import Layer, parse_settings, read_toml
from advcal_edge.errors import BundleError, DependencyError
from advcal_edge.report.table import percent, percent_interval, table
from advcal_edge.threat import format_eps

if TYPE_CHECKING:
    from advcal_edge.bundle import Bundle
    from advcal_edge.calibrate.config import CalibrateConfig
    from advcal_edge.calibrate.evaluate import ResultTable
    from advcal_edge.calibrate.processes import Processes
    from advcal_edge.calibrate.run import CalibrationResult
    from advcal_edge.encoders.base import Encoder

PAPER_LIMIT = 0.01  # arXiv 2505.11895 trains less than one percent of the encoder's parameters


def calibrate(
    modality: Annotated[str | None, typer.Option("--modality", help=f"Sensor: {MODALITIES}.")] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="Settings to start from: `fast`, `thorough`, or `paper` (arXiv 2505.11895)."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Frozen encoder: `bindlite`, `imagebind`, `languagebind`, `unibind`, `openclip:MODEL`, `timm:MODEL`,"
            " `siglip`, `dinov2`, `hf:FOLDER`, or `package.module:factory`.",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Checkpoint of the encoder, a file or a folder.")
    ] = None,
    centers: Annotated[
        Path | None,
        typer.Option("--centers", help="File from `advcal-edge centers`; else the encoder's, else class means."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with one folder per class, or a csv with the columns path and label."),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            help="Public data set in that folder, as published: `imagenet`, `places365`, `llvip`, `esc50`,"
            " `urbansound8k`, `modelnet40`, `shapenet`, `msrvtt`, `ucf101`, `ncaltech101`, `nimagenet`.",
        ),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option("--pairs", help="Sensor of the files in the csv column `pair`, or beside LLVIP; for retrieval."),
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Skip unreadable files and count them.")] = False,
    assume_units: AssumeUnits = False,
    adapter: Annotated[
        str | None,
        typer.Option(
            "--adapter",
            help="Parts joined by `+`: `stem-filter`, `lora-xs`, `norms`, `lora`, `full`, `prompt`, `head`;"
            " or `identity`.",
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            help="Terms joined by `+`, like `ce + 5 l2`: `ce`, `l2`, `infonce`, `soft`, `consistency`, `partner`.",
        ),
    ] = None,
    threat: Annotated[
        str | None,
        typer.Option("--threat", help="`adaptive`: attack encoder and adapter at each step; `static`: once, before."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Where the encoder computes: `auto`, `cpu`, `cuda` or `cuda:1`.")
    ] = None,
    norm: Annotated[
        str | None, typer.Option("--norm", help="Norm of the ball around a sample: `linf` or `l2`.")
    ] = None,
    eps: Annotated[
        str | None, typer.Option("--eps", help="Radius as a fraction of the input's range, like `4/255`.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Maximum number of held-out samples to attack.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write the bundle to.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run from `OUT.partial`.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Random seed.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file with any of the settings.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, like `train.epochs=8`.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Train an adapter for a frozen encoder against adversarial input, and write a bundle.

    Precedence: flag > --set > --config > preset > default.
    """
    flags: dict[str, Any] = {
        "modality": modality,
        "preset": preset,
        "encoder": encoder,
        "weights": weights,
        "centers": centers,
        "out": out,
        "seed": seed,
        "device": device,
        "input": {"assume_units": "yes" if assume_units else None},
        "data": {"path": data, "layout": layout, "pairs": pairs, "skip_bad": skip_bad or None},
        "adapter": {"kind": adapter},
        "objective": {"attacked": objective},
        "threat": {"norm": norm, "eps": eps},
        "craft": {"kind": threat},
        "evaluate": {"samples": samples},
    }
    chosen = _configure(_given(flags), config, settings or [])
    keep_decoders_quiet()
    with _torch("processes").joined() as processes:
        if processes.first:
            run(chosen, Console(json_output=json_output), resume=resume, processes=processes)
        else:  # the first one shows everything
            _torch("run").calibrate_together(chosen, processes, resume=resume)


def run(
    chosen: CalibrateConfig, console: Console, *, resume: bool = False, processes: Processes | None = None
) -> CalibrationResult:
    """Calibrate, alone or as the first of several processes, show everything, and return the result."""
    keep_decoders_quiet()
    calibration = _torch("run")
    together = "" if processes is None or processes.count == 1 else f"  {processes.count} processes"
    console.say(_headline(chosen) + together)
    partial = Path(chosen.out).with_name(f"{Path(chosen.out).name}.partial")
    if not resume and partial.is_dir():
        console.say(f"`{partial}` holds an interrupted calibration; starting over (`--resume` would go on)")
    watch = calibration.Watch(
        console.progress,
        opened=lambda encoder: _introduce(encoder, console),
        measured=lambda need, free: console.say(_memory(need, free)),
    )
    try:
        result: CalibrationResult = calibration.calibrate_together(
            chosen, processes or calibration.ALONE, watch, resume=resume
        )
    except KeyboardInterrupt:
        if partial.is_dir():
            console.say(f"kept the last whole epoch in `{partial}`; the same command with `--resume` goes on")
        raise
    console.result(_figures(result.table))
    if result.table.before.recall:
        console.result("\n" + _recall(result.table, result.bundle))
    console.result(
        f"\ntrained {percent(result.trainable_fraction, 2)} % of the encoder's parameters"
        f" (arXiv 2505.11895 stays below {percent(PAPER_LIMIT)} %)"
    )
    if result.estimated_fraction:
        console.result(f"replaced {percent(result.estimated_fraction, 2)} % by estimates from clean samples, untrained")
    console.document(result.to_json())
    if chosen.craft.kind == "static":
        console.say("static: trained on examples crafted without the adapter; the adaptive columns tell what holds")
    if result.table.before.gradients_find_nothing or result.table.after.gradients_find_nothing:
        console.say(
            "warning: no attack along gradients breaks anything, and the black box does. Something in front of the"
            " encoder, like a rounding or a threshold, stops its gradient: training saw random noise alone, and the"
            " figures of PGD and APGD show no robustness"
        )
    section = result.bundle.section("data")
    skipped, copies = section["skipped"], section.get("copies", 0)
    if skipped:
        console.say(f"skipped {skipped} unreadable {'file' if skipped == 1 else 'files'}")
    if left_out := section.get("left_out"):
        names = ", ".join(f"{count} {'' if name == 'others' else 'of '}`{name}`" for name, count in left_out.items())
        console.say(f"left out {sum(left_out.values())} of `{section['source']}` that are no frames: {names}")
    if copies:
        console.say(f"left out {copies} training {'frame' if copies == 1 else 'frames'} equal to one held out")
    remember(result.bundle, console)
    console.say(f"wrote `{result.bundle.path}` in {result.seconds['total']:.0f} s")
    console.next(command("export", result.bundle.path))
    return result


def _introduce(encoder: Encoder, console: Console) -> None:
    """Say the license of an encoder's weights, and what was changed in reading them."""
    from advcal_edge.encoders.base import notes_of

    console.say(terms(encoder.license))
    for note in notes_of(encoder):
        console.say(note)


def _torch(name: str) -> Any:
    """A module of `advcal_edge.calibrate` that needs torch.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        return import_module(f"advcal_edge.calibrate.{name}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise DependencyError("torch", extra="calibrate", purpose="`calibrate`") from error


def remember(bundle: Bundle, console: Console) -> None:
    """Trust what this calibration was given, so that `export` and `verify` of its bundle may load it too."""
    from advcal_edge.consent import trust

    try:
        wants = trust(bundle)
    except BundleError as error:
        console.say(f"not remembered as trusted: {error.message}")
        return
    named = " and ".join(f"`{name}`" for name in (wants.code, wants.weights) if name is not None)
    if named:
        console.say(f"this bundle may load {named} here, as you named it; `advcal-edge trust --withdraw` ends that")


def _configure(flags: dict[str, Any], file: Path | None, settings: list[str]) -> CalibrateConfig:
    """Settings from flags, `--set` and file; the first takes precedence."""
    from advcal_edge.calibrate.presets import configure

    layers = [read_toml(file)] if file else []
    if "objective" in flags:  # what a preset wants on clean input belongs to the preset's own objective
        layers.insert(0, Layer("command line", {"objective": {"clean": "half"}}))
    return configure([*layers, parse_settings(settings), Layer("command line", flags)])


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """Drop options that were not given."""
    pruned = {key: _given(value) if isinstance(value, dict) else value for key, value in flags.items()}
    return {key: value for key, value in pruned.items() if value is not None and value != {}}


def _headline(chosen: CalibrateConfig) -> str:
    """Summary of encoder, data and budget."""
    norm, eps = chosen.threat.norm, chosen.threat.eps
    ball = f"{norm} eps {format_eps(eps or chosen.usual_eps, norm)}"
    if eps is None and norm == "l2":
        ball = f"l2 eps as large as linf {format_eps(chosen.usual_eps)}"
    source = f"data `{chosen.data.path}`" if chosen.data.path else "the encoder's own samples"
    source += f" as `{chosen.data.layout}`" if chosen.data.layout else ""
    return (
        f"calibrate  {chosen.encoder} {chosen.modality} on {source}  {chosen.preset}: adapter {chosen.adapter.kind},"
        f" {chosen.objective.attacked}, {chosen.craft.kind}  {ball}"
        f"  {chosen.evaluate.samples} held-out samples  seed {chosen.seed}"
    )


def _memory(need: int, free: int) -> str:
    return f"memory: about {need / 2**30:.1f} GiB for a part of a batch, of {free / 2**30:.1f} GiB on the device"


def _figures(result: ResultTable) -> str:
    """Accuracies in percent with intervals, and top-5 accuracies, before next to after."""
    from advcal_edge.retrieval import TOP

    ranked = result.before.classes > TOP
    lines = []
    for column, heading in HEADINGS.items():
        cells = []
        for row in (result.before, result.after):
            interval = row.interval(column)
            cells += [percent(row.accuracy(column)), percent_interval(interval.low, interval.high)]
            cells += [percent(row.accuracy(column, TOP))] if ranked else []
        lines.append([heading, *cells])
    title = f"accuracy in percent on {result.before.n} held-out samples, {result.threat}, with 95 % intervals\n\n"
    top = ["top 5"] if ranked else []
    return title + table(["", "before", "", *top, "after", "", *top], lines)


def _recall(result: ResultTable, bundle: Bundle) -> str:
    """Recall of the paired samples in percent, both directions, before next to after."""
    partner = bundle.section("data")["partner"]
    lines = []
    for state in ("clean", "attacked"):
        for direction, words in (("forward", f"to {partner}"), ("backward", f"from {partner}")):
            cells = [
                percent(found["accuracy"])
                for row in (result.before, result.after)
                for found in row.recall[state].to_json()[direction].values()
            ]
            lines.append([f"{state}, {words}", *cells])
    title = (
        f"retrieval: recall in percent at 1, 5 and 10 among {result.before.n} pairs, attacked with {result.threat}\n\n"
    )
    return title + table(["", "before", "@5", "@10", "after", "@5", "@10"], lines)
