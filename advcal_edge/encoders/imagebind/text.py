"""The text tower of the user's checkpoint, which makes semantic centers from prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from advcal_edge.encoders.imagebind.keys import logit_scale_name, of_tower, published_names
from advcal_edge.encoders.imagebind.sizes import MAX_LOGIT_SCALE, TextConfig
from advcal_edge.encoders.imagebind.tokens import load_tokenizer
from advcal_edge.errors import DependencyError, InputError

if TYPE_CHECKING:
    from advcal_edge.encoders.imagebind.text_trunk import TextTrunk

BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class TextTower:
    """Prompts to unit vectors in the space of all of ImageBind's sensors."""

    temperature: float
    """What similarities are divided by: the inverse of the checkpoint's logit scale."""

    source: str
    trunk: TextTrunk
    tokens: Callable[[str], list[int]]

    def embed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-norm embeddings (n, 1024) of prompts; what is longer than 75 tokens is cut.

        Raises:
            InputError: a prompt without a word in it.
        """
        import torch
        from torch.nn import functional as F

        for number, prompt in enumerate(prompts):
            if not prompt.strip():
                raise InputError(f"prompt {number} is empty; expected a sentence such as `a photo of a dog`")
        found = [np.empty((0, self.trunk.head.out_features), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(prompts), BATCH):
                tokens = torch.tensor([self.tokens(prompt) for prompt in prompts[start : start + BATCH]])
                found.append(F.normalize(self.trunk(tokens), dim=-1).numpy())
        return np.concatenate(found)


def load_text(weights: Path, config: TextConfig | None = None) -> TextTower:
    """The text tower in the checkpoint `weights`; no other tower leaves the disk.

    Raises:
        InputError: the checkpoint cannot be read, or does not hold exactly this tower.
        DependencyError: torch or the package `tokenizers` is not installed.
    """
    if find_spec("torch") is None:
        raise DependencyError("torch", extra="calibrate", purpose="the text tower of imagebind")
    import torch

    from advcal_edge.encoders.checkpoint import digest, load_exactly, read_tensors
    from advcal_edge.encoders.imagebind.text_trunk import TextTrunk

    tokens = load_tokenizer()
    scale = logit_scale_name("text")
    tensors = read_tensors(weights, lambda name: of_tower(name, "text") or name == scale)
    logarithm = tensors.pop(scale, None)
    if logarithm is None:
        raise InputError(f"`{weights}` has no `{scale}`; expected the logit scale of the text tower")
    with torch.device("meta"):
        trunk = TextTrunk(config or TextConfig())
    load_exactly(trunk, tensors, f"`{weights}` for `text`", published_names(trunk.state_dict(), "text"))
    temperature = 1 / min(float(logarithm.exp()), MAX_LOGIT_SCALE)
    source = f"text tower of ImageBind {digest(tensors)[:12]}"
    return TextTower(temperature, source, trunk.eval().requires_grad_(False), tokens)
