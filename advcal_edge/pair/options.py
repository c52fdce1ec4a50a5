"""What a comparison of two models starts from: the reference, labelled samples, and what their outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from advcal_edge.declarations import Setting
from advcal_edge.errors import ConfigError
from advcal_edge.registry import choose
from advcal_edge.spec import MODALITIES

KINDS: Mapping[str, str] = {
    "encoder": "gives embeddings, scored by their cosine with one or several centers per class",
    "classifier": "gives logits, one per class; the largest is the label",
}
"""What both models may be."""


@dataclass(frozen=True, slots=True)
class PairOptions:
    """The reference and the samples on which candidates are compared with it.

    Raises:
        ConfigError: an unknown name, or options that exclude each other.
    """

    reference: str
    """Path of an ONNX graph, or a model in torch: a built-in encoder or `package.module:factory`, whose code is run."""
    data: Path
    """Folder with one folder per class, or a csv file with the columns path and label."""
    modality: str = "image"
    kind: str = "encoder"
    """`encoder` or `classifier`; both are of one kind."""
    centers: Path | None = None
    """File of centers; default for encoders: their own, else class means of samples that are not attacked."""
    labels: tuple[str, ...] | None = None
    """Label of each logit; default: the names of the class folders, sorted."""
    gradient: Path | None = None
    """Graph (x, v) -> (z, J^T v) of the reference, by which reference and candidates are attacked."""
    weights: Path | None = None
    """Checkpoint of an encoder."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Sensor settings for preprocessing, like `rate` or `baseline_m`."""
    norm: str | None = None
    """`linf` or `l2`; None for linf."""
    eps: str | None = None
    """Radius as a fraction of the bounds, like `4/255`; None for the usual one of the modality."""
    samples: int = 500
    """Samples to attack, at most; at least `KEPT` are kept, if there are so many."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`: where a model in torch computes."""
    skip_bad: bool = False
    """Skip unreadable files and count them, instead of refusing the samples."""

    def __post_init__(self) -> None:
        choose("modality", self.modality, dict.fromkeys(MODALITIES))
        choose("kind of model", self.kind, KINDS)
        if self.kind == "classifier" and self.centers is not None:
            raise ConfigError(
                "`--centers` and `--kind classifier` exclude each other: its logits are scores already",
                hint="leave out one of them",
            )
        if self.kind != "classifier" and self.labels is not None:
            raise ConfigError(
                "`--labels` names the logits of a classifier; `--kind` says that the models are encoders",
                hint="`--kind classifier`, or `--centers FILE`, which holds the labels of its centers",
            )
        if self.is_graph and self.weights is not None:
            raise ConfigError(
                f"`--weights` is the checkpoint of an encoder; `--reference {self.reference}` is a graph, which holds"
                " its weights",
                hint="leave out `--weights`",
            )
        if not self.is_graph and self.gradient is not None:
            raise ConfigError(
                f"`--gradient-graph` is for a reference that is a graph; torch computes the gradient of"
                f" `{self.reference}`",
                hint="leave out `--gradient-graph`",
            )

    @property
    def is_graph(self) -> bool:
        """Is the reference a file, and not an encoder?"""
        path = Path(self.reference)
        return path.is_file() or (path.suffix != "" and ":" not in self.reference)

    @property
    def name(self) -> str:
        """Short name of the reference: the file without its suffix, or the name of the factory."""
        return Path(self.reference).stem if self.is_graph else self.reference.rpartition(":")[2]
