"""All settings of a calibration. Defaults are defined only here; they are the demo's, for two processor cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from advcal_edge.config import Layer, resolve
from advcal_edge.errors import ConfigError
from advcal_edge.registry import unknown
from advcal_edge.spec import MODALITIES, TensorSpec
from advcal_edge.threat import Norm, ThreatModel

AdapterKind = Literal["identity", "head", "lora"]
"""Kinds that `adapter.kind` may join with `+`, see `adapters.py`."""

ObjectiveKind = Literal["ce", "l2", "infonce"]
"""Kinds of `objective.kind`, see `objectives.py`."""

SPECIAL: Mapping[str, Mapping[str, Any]] = {
    "video": {"train": {"samples": 1200, "epochs": 5}},  # a scene takes 30 ms to render: fewer of them, more epochs
    "event": {"train": {"samples": 1200, "epochs": 5}},
    "audio": {"train": {"samples": 1800, "epochs": 3}},
    "imu": {"train": {"epochs": 15, "batch": 32}},  # there are 440 windows in total
}
EPS = 4 / 255
SMALLER_EPS: Mapping[str, float] = {"imu": 0.25 / 255}
"""Used where the usual radius in linf is too large: 4/255 of 16 g is 4.9 m/s2, more than walking; this is 0.31."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    modality: {"out": f"bundles/{modality}", **SPECIAL.get(modality, {})} for modality in MODALITIES
}
"""Changes to the defaults per modality; any other layer overrides them."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Source of the labelled frames."""

    path: str | None = None
    """Folder of class folders, or a manifest.csv; default: the samples that come with the encoder."""
    skip_bad: bool = False
    """Skip unreadable files and count them, instead of refusing the data set."""
    pairs: str | None = None
    """Modality of the files in the csv's column `pair`, which show the same moments; for retrieval."""
    held_out: float = 0.25
    """Share of a folder's samples that is held out from training."""

    def __post_init__(self) -> None:
        _within("data.held_out", self.held_out, 0.05, 0.9)
        if self.skip_bad and self.path is None:
            raise ConfigError("`--skip-bad` has nothing to skip without `--data`", hint="leave out `--skip-bad`")
        if self.pairs is not None and self.path is None:
            raise ConfigError("`--pairs` has nothing to pair without `--data`", hint="leave out `--pairs`")
        if self.pairs is not None and self.pairs not in MODALITIES:
            raise unknown("modality", self.pairs, MODALITIES)


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What is trained in the encoder."""

    kind: str = "lora"
    """identity, head, lora, or several joined by `+`."""
    rank: int = 2
    """Rank of the update of each matrix inside the encoder."""
    alpha: float = 4.0
    """Updates are scaled by alpha / rank."""
    stem: bool = True
    """Also update the patch convolution."""
    norms: bool = True
    """Also update the scales and shifts of the layer norms."""
    head_rank: int = 0
    """Rank of the head's residual z + B A z; 0 is a full linear map that starts as the identity."""

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in get_args(AdapterKind):
                error = unknown("adapter", part, get_args(AdapterKind))
                raise ConfigError(error.message, hint=error.hint or "join kinds with `+`: `--adapter head+lora`")
        if len(set(self.parts)) != len(self.parts) or ("identity" in self.parts and len(self.parts) > 1):
            raise ConfigError(f"`--adapter {self.kind}` repeats a part or mixes it with `identity`")
        _within("adapter.rank", self.rank, 1, 1024)
        _within("adapter.head_rank", self.head_rank, 0, 4096)
        _within("adapter.alpha", self.alpha, 1e-6, 1e6)

    @property
    def parts(self) -> tuple[str, ...]:
        """The kinds, in the order they are applied."""
        return tuple(self.kind.split("+"))


@dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """The loss of the training."""

    kind: ObjectiveKind = "ce"
    """Against the frozen centers, or against the frozen encoder's clean embeddings."""
    clean: float = 0.5
    """Weight of the same objective on clean input."""
    consistency: float = 0.0
    """Weight of the similarity-matrix regulariser."""

    def __post_init__(self) -> None:
        _within("objective.clean", self.clean, 0, 100)
        _within("objective.consistency", self.consistency, 0, 1000)


@dataclass(frozen=True, slots=True)
class ThreatConfig:
    """The ball around each sample, in training and evaluation."""

    norm: Norm = "linf"
    """Norm of the ball, `linf` or `l2`."""
    eps: float | None = None
    """Radius as a fraction of the width of the input's bounds; default: the modality's usual radius."""

    def __post_init__(self) -> None:
        if self.eps is None:
            return
        if self.eps <= 0 or (self.norm == "linf" and self.eps > 1):
            most = " and at most 1" if self.norm == "linf" else ""
            raise ConfigError(
                f"`--eps` is {self.eps:g}; expected a fraction of the input's range, above 0{most}",
                hint="write pixel budgets as `--eps 4/255`",
            )


@dataclass(frozen=True, slots=True)
class CraftConfig:
    """How adversarial examples for training are made."""

    kind: Literal["adaptive", "static"] = "adaptive"
    """Craft through encoder and adapter at each step, or once on the frozen encoder (`--threat`)."""
    steps: int = 2
    """PGD steps per training step (adaptive)."""
    step: float = 0.8
    """Size of one step as a fraction of eps (adaptive)."""
    static_steps: int = 10
    """PGD steps, once, on the frozen encoder (static)."""

    def __post_init__(self) -> None:
        _within("craft.steps", self.steps, 1, 1000)
        _within("craft.static_steps", self.static_steps, 1, 1000)
        _within("craft.step", self.step, 1e-6, 4)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Length and speed of the training."""

    samples: int = 3000
    """Maximum number of training samples."""
    epochs: int = 2
    """Epochs through the encoder."""
    cached_epochs: int = 60
    """Epochs if only a head is trained on embeddings computed once (static)."""
    batch: int = 64
    """Samples per step."""
    learning_rate: float = 1e-2
    """Peak learning rate: it rises linearly over a tenth of the steps, then falls to zero along a cosine."""
    head_learning_rate: float = 1e-3
    """The same for a head, which has far more parameters than the updates inside and leaves the identity for good."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""

    def __post_init__(self) -> None:
        _within("train.samples", self.samples, 2, 10**8)
        _within("train.epochs", self.epochs, 1, 10**6)
        _within("train.cached_epochs", self.cached_epochs, 1, 10**6)
        _within("train.batch", self.batch, 2, 10**6)
        _within("train.learning_rate", self.learning_rate, 0, 10)
        _within("train.head_learning_rate", self.head_learning_rate, 0, 10)
        _within("train.weight_decay", self.weight_decay, 0, 10)


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """Measurements before and after."""

    samples: int = 200
    """Maximum number of held-out samples to attack; the table states the actual number."""
    steps: int = 20
    """Steps of PGD and of APGD."""
    queries: int = 100
    """Queries of Square per sample."""

    def __post_init__(self) -> None:
        _within("evaluate.samples (`--samples`)", self.samples, 1, 10**8)
        _within("evaluate.steps", self.steps, 1, 10**5)
        _within("evaluate.queries", self.queries, 1, 10**6)


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """All settings; TOML keys, `--set` keys and these fields have the same names."""

    modality: str
    """Sensor of the encoder's trunk."""
    encoder: str = "bindlite"
    """Registered name, or `package.module:factory`."""
    weights: str | None = None
    """The encoder's checkpoint, a file or a folder; None for encoders that include their weights."""
    centers: str | None = None
    """File of semantic centers; default: the encoder's, or else class means of the training samples."""
    out: str = "bundles/calibrated"
    """Folder to write the bundle to."""
    seed: int = 0
    """Random seed."""
    input: Mapping[str, float] = field(default_factory=dict)
    """Sensor settings for preprocessing, like `input.rate` or `input.baseline_m`."""
    data: DataConfig = field(default_factory=DataConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    threat: ThreatConfig = field(default_factory=ThreatConfig)
    craft: CraftConfig = field(default_factory=CraftConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    @property
    def usual_eps(self) -> float:
        """The usual radius of this modality in linf."""
        return SMALLER_EPS.get(self.modality, EPS)

    def threat_model(self, spec: TensorSpec) -> ThreatModel:
        """The ball around inputs of `spec`; the default radius is the usual one, in l2 of the same energy as in linf.

        Raises:
            ConfigError: a radius larger than the input space.
        """
        norm, eps = self.threat.norm, self.threat.eps
        if eps is None:
            return ThreatModel("linf", self.usual_eps, spec.bounds).with_norm(norm, spec.shape)
        threat = ThreatModel(norm, eps, spec.bounds)
        threat.check_reach(spec.shape)
        return threat

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise unknown("modality", self.modality, MODALITIES)
        if not Path(self.out).name:
            raise ConfigError(f"`--out {self.out}` names no folder", hint="like `--out bundles/thermal`")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"`--seed` is {self.seed}; expected a whole number from 0 to 2^63 - 1")
        if self.train.batch > self.train.samples:
            raise ConfigError(
                f"`train.batch` is {self.train.batch}; expected at most `train.samples`, {self.train.samples}",
                hint=f"`--set train.batch={self.train.samples}`",
            )


def configure(layers: Sequence[Layer] = (), **settings: Any) -> CalibrateConfig:
    """Settings over the preset of their modality: those of `layers`, lowest first, then the keyword arguments.

    >>> configure(modality="thermal", out="B", train={"epochs": 2}).train.epochs
    2

    Raises:
        ConfigError: an unknown key (with the nearest match), or a value of the wrong type.
    """
    upper = [*layers, Layer("keywords", settings)]
    modality = next((layer.values["modality"] for layer in reversed(upper) if "modality" in layer.values), None)
    return resolve(CalibrateConfig, [Layer(f"preset `{modality}`", PRESETS.get(str(modality), {})), *upper])


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"`{name}` is {value:g}; expected a value in [{low:g}, {high:g}]")
