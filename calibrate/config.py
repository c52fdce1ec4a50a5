"""All settings of a calibration and their defaults; `presets.py` has what presets change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from advcal_edge.declarations import Setting
from advcal_edge.errors import ConfigError
from advcal_edge.registry import unknown
from advcal_edge.spec import MODALITIES, TensorSpec
from advcal_edge.threat import Norm, ThreatModel

AdapterKind = Literal["identity", "stem-filter", "lora", "lora-xs", "norms", "full", "prompt", "head"]
"""Kinds that `adapter.kind` may join with `+`, see `adapters/`, in the order in which they are applied."""

ObjectiveKind = Literal["ce", "l2", "infonce", "soft", "consistency", "partner"]
"""Terms of `objective.attacked` and `objective.clean`, see `objectives.py`."""

EPS = 4 / 255
SMALLER_EPS: Mapping[str, float] = {"imu": 0.25 / 255}
"""Used where the usual radius in linf is too large: 4/255 of 16 g is 4.9 m/s2, more than walking; this is 0.31."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Source of the labelled frames."""

    path: str | None = None
    """Folder of class folders, or a manifest.csv; default: the samples that come with the encoder."""
    layout: str | None = None
    """Name of the public data set in the folder, as it was published, see `data/layouts`."""
    fold: int | None = None
    """Which published fold or split of the data set is held out; default: the last fold, the first split."""
    skip_bad: bool = False
    """Skip unreadable files and count them, instead of refusing the data set."""
    pairs: str | None = None
    """Modality of the files in the csv's column `pair`, which show the same moments; for retrieval."""
    held_out: float = 0.25
    """Share of a folder's samples that is held out from training, unless the layout has a published split."""
    memory: float = 2.0
    """GiB of preprocessed training inputs that are kept in memory; more are read again in every epoch."""
    workers: int = 2
    """Threads that read ahead inputs that are not kept in memory."""
    tuning: bool = False
    """Hold out those built-in samples on which the defaults were chosen, instead of those that figures are of."""

    def __post_init__(self) -> None:
        _within("data.held_out", self.held_out, 0.05, 0.9)
        _within("data.memory", self.memory, 0, 1e6)
        _within("data.workers", self.workers, 1, 1024)
        if self.skip_bad and self.path is None:
            raise ConfigError("`--skip-bad` has nothing to skip without `--data`", hint="leave out `--skip-bad`")
        if self.tuning and self.path is not None:
            raise ConfigError(
                "`data.tuning` chooses among built-in samples; `--data` brings others", hint="leave it out"
            )
        if self.layout is not None and self.path is None:
            raise ConfigError("`--layout` says how `--data` is arranged, which is missing", hint="give `--data DIR`")
        if self.fold is not None and self.layout is None:
            raise ConfigError("`data.fold` needs a public data set in folds", hint="like `--layout esc50`")
        if self.pairs is not None and self.path is None:
            raise ConfigError("`--pairs` has nothing to pair without `--data`", hint="leave out `--pairs`")
        if self.pairs is not None and self.pairs not in MODALITIES:
            raise unknown("modality", self.pairs, MODALITIES)


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What is trained in the encoder."""

    kind: str = "stem-filter+lora-xs+norms"
    """identity, stem-filter, lora, lora-xs, norms, full, prompt, head, or several joined by `+`."""
    filter: float = 8.0
    """Noise that `stem-filter` is made for, in multiples of eps."""
    rank: int = 2
    """Rank of the update of each matrix by `lora`."""
    alpha: float = 4.0
    """Updates by `lora` are scaled by alpha / rank."""
    core_rank: int = 11
    """Rank of the update of each matrix by `lora-xs`, which trains its square."""
    stem_rank: int = 24
    """The same for the stem."""
    stem: bool = True
    """Also update the stem: the patch convolution, or whatever the encoder's first layer is."""
    tokens: int = 8
    """Number of tokens that `prompt` adds."""
    head_rank: int = 0
    """Rank of the head's residual z + B A z; 0 is a full linear map that starts as the identity."""

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in get_args(AdapterKind):
                error = unknown("adapter", part, get_args(AdapterKind))
                raise ConfigError(error.message, hint=error.hint or "join kinds with `+`: `--adapter head+lora`")
        if len(set(self.parts)) != len(self.parts) or ("identity" in self.parts and len(self.parts) > 1):
            raise ConfigError(f"`--adapter {self.kind}` repeats a part or mixes it with `identity`")
        _within("adapter.filter", self.filter, 0, 1e6)
        _within("adapter.rank", self.rank, 1, 1024)
        _within("adapter.core_rank", self.core_rank, 1, 1024)
        _within("adapter.stem_rank", self.stem_rank, 1, 1024)
        _within("adapter.tokens", self.tokens, 1, 1024)
        _within("adapter.head_rank", self.head_rank, 0, 4096)
        _within("adapter.alpha", self.alpha, 1e-6, 1e6)

    @property
    def parts(self) -> tuple[str, ...]:
        """The kinds, in the order in which they are applied."""
        order = get_args(AdapterKind)
        return tuple(sorted(self.kind.split("+"), key=lambda part: order.index(part) if part in order else len(order)))


@dataclass(frozen=True, slots=True)
class ObjectiveConfig:
    """The loss of the training."""

    attacked: str = "ce + 5 l2"
    """Terms on attacked input with their weights. Attacks of the training raise the first one."""
    clean: str = "0.5 ce + 5 l2"
    """Terms on clean input; `half`: those of attacked input at half their weights, `none`: none."""

    def __post_init__(self) -> None:
        if not self.attacked_terms:
            raise ConfigError("`objective.attacked` is empty; expected terms like `ce + 5 l2`")
        read_terms("objective.clean", self.clean)

    @property
    def attacked_terms(self) -> dict[ObjectiveKind, float]:
        """Weight of each term on attacked input."""
        return read_terms("objective.attacked", self.attacked)

    @property
    def clean_terms(self) -> dict[ObjectiveKind, float]:
        """Weight of each term on clean input."""
        if self.clean == "half":
            return {term: 0.5 * weight for term, weight in self.attacked_terms.items()}
        return read_terms("objective.clean", self.clean)

    @property
    def terms(self) -> frozenset[ObjectiveKind]:
        """All terms, on whichever input."""
        return frozenset((*self.attacked_terms, *self.clean_terms))


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
    parts: int = 4
    """Parts of a batch, computed one after another or by as many threads or processes; fewer need more memory."""
    autocast: bool = True
    """On a GPU, craft and train in bfloat16 where that is safe; what is trained stays in float32."""
    compile: bool = False
    """Compile the encoder with `torch.compile` for crafting and training."""
    checkpointing: bool = False
    """Keep the inputs of the encoder's blocks alone for the backward pass, and compute the rest again."""
    mirror: bool = False
    """Mirror half of the samples of each batch along their last axis."""
    learning_rate: float = 2e-2
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
        _within("train.parts", self.parts, 1, 10**4)
        _within("train.learning_rate", self.learning_rate, 0, 10)
        _within("train.head_learning_rate", self.head_learning_rate, 0, 10)
        _within("train.weight_decay", self.weight_decay, 0, 10)

    def batch_of(self, samples: int) -> tuple[int, int]:
        """Size of a batch of so many samples, and the number of its parts; none of them is empty."""
        size = min(self.batch, samples)
        return size, min(self.parts, size)


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
    preset: str = "fast"
    """Name of the settings that lie below all others, see `presets.py`."""
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
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`: where the encoder computes."""
    input: Mapping[str, Setting] = field(default_factory=dict)
    """Sensor settings for preprocessing, like `input.rate` or `input.depth_scale`."""
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
        if self.data.layout is not None:
            self._check_layout(self.data.layout)
        if not Path(self.out).name:
            raise ConfigError(f"`--out {self.out}` names no folder", hint="like `--out bundles/thermal`")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"`--seed` is {self.seed}; expected a whole number from 0 to 2^63 - 1")
        if self.train.mirror and self.craft.kind == "static":
            raise ConfigError(
                "`train.mirror` needs attacks of mirrored samples; `--threat static` attacks them once, as they are",
                hint="`--set train.mirror=false`, or leave out `--threat static`",
            )
        if self.train.batch > self.train.samples:
            raise ConfigError(
                f"`train.batch` is {self.train.batch}; expected at most `train.samples`, {self.train.samples}",
                hint=f"`--set train.batch={self.train.samples}`",
            )

    def _check_layout(self, name: str) -> None:
        """Refuse a layout of another sensor, a fold or a partner that it does not have."""
        from advcal_edge.calibrate.data.layouts import find_layout  # loads decoders, which few configurations need

        layout, data = find_layout(name), self.data
        if layout.modality != self.modality:
            raise ConfigError(
                f"`--layout {name}` holds frames of `{layout.modality}`; `--modality` is `{self.modality}`",
                hint=f"`--modality {layout.modality}`, or the layout of another set",
            )
        if data.fold is not None and not 1 <= data.fold <= layout.folds:
            expected = f"expected 1 to {layout.folds}" if layout.folds else f"{layout.title} is not published in folds"
            raise ConfigError(f"`data.fold` is {data.fold}; {expected}", hint="leave out `data.fold`")
        if data.pairs is not None and data.pairs != layout.pairs:
            partner = f"`{layout.pairs}`" if layout.pairs else "no other sensor"
            raise ConfigError(
                f"`--pairs {data.pairs}` asks for what `--layout {name}` does not have; expected {partner}",
                hint=f"`--pairs {layout.pairs}`" if layout.pairs else "leave out `--pairs`",
            )


def read_terms(name: str, text: str) -> dict[ObjectiveKind, float]:
    """`ce + 5 l2` as weights by term; no terms for `none` and `half`, which the caller knows.

    Raises:
        ConfigError: an unknown or repeated term, or a weight that is no number above zero.
    """
    weights: dict[ObjectiveKind, float] = {}
    for item in () if text in ("none", "half") else text.split("+"):
        found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)(?:\s*\*\s*|\s+))?([a-z][a-z0-9]*)", item.strip())
        if found is None:
            raise ConfigError(
                f"`{name}` is `{text}`, which has no term at `{item.strip()[:40]}`; expected terms joined by `+`",
                hint=f"like `--set '{name}=ce + 5 l2'`",
            )
        term, weight = found[2], float(found[1] or 1)
        if term not in get_args(ObjectiveKind):
            raise unknown("objective", term, get_args(ObjectiveKind))
        if term in weights:
            raise ConfigError(f"`{name}` is `{text}`, which repeats `{term}`")
        _within(f"{name}, weight of {term}", weight, 1e-6, 1e4)
        weights[cast(ObjectiveKind, term)] = weight
    return weights


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"`{name}` is {value:g}; expected a value in [{low:g}, {high:g}]")
