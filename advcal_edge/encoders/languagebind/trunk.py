"""The tower of one sensor: a vision transformer on every frame, and attention over time among frames.

The transformer is CLIP's (arXiv:2103.00020), as in the text tower. Attributes have the names of the tensors in the
published checkpoints, so that errors show the file's names. Every operation is a plain matrix product, normalisation
or softmax: graph and backward pass neither gather nor scatter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advcal_edge.encoders.languagebind.configuration import Configuration, Transformer, VisionSizes

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
QUICK = 1.702  # x sigmoid(1.702 x) is the approximation of GELU that CLIP's first models were trained with


class Embeddings(nn.Module):
    """Frames (n * frames, 3, h, w) to tokens (n * frames, 1 + patches, width), the class token first."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        width = sizes.transformer.width
        self.frames = sizes.frames
        self.class_embedding = nn.Parameter(torch.zeros((sizes.frames, width) if sizes.class_token_a_frame else width))
        self.patch_embedding = nn.Conv2d(3, width, sizes.patch, sizes.patch, bias=False)
        self.position_embedding = nn.Embedding(sizes.tokens, width)  # always all rows: the table itself, no look-up

    def forward(self, frames: Tensor) -> Tensor:
        patches = self.patch_embedding(frames).flatten(2).transpose(1, 2)
        if self.class_embedding.ndim == 1:
            first = self.class_embedding.expand(patches.shape[0], 1, -1)
        else:
            clips = torch.unflatten(patches, 0, (-1, self.frames)).shape[0]
            first = self.class_embedding[None, :, None].expand(clips, -1, -1, -1).flatten(0, 1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class VisionTransformer(nn.Module):
    """Frames (n * frames, 3, h, w) to the class token (n * frames, width)."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        transformer = sizes.transformer
        self.embeddings = Embeddings(sizes)
        self.pre_layrnorm = nn.LayerNorm(transformer.width, eps=transformer.norm_eps)  # spelled as in the checkpoints
        if sizes.time_attention:
            self.encoder = Layers(
                [TimedLayer(transformer, sizes.frames, perceptron=sizes.time_mlp) for _ in range(transformer.depth)]
            )
        else:
            self.encoder = Layers([Layer(transformer) for _ in range(transformer.depth)])
        self.post_layernorm = nn.LayerNorm(transformer.width, eps=transformer.norm_eps)

    def forward(self, frames: Tensor) -> Tensor:
        tokens = self.encoder(self.pre_layrnorm(self.embeddings(frames)))
        first, _ = torch.split(tokens, [1, tokens.shape[1] - 1], dim=1)  # an index would export as a gather
        out: Tensor = self.post_layernorm(first.squeeze(1))
        return out


class Trunk(nn.Module):
    """Physical x (n, c, h, w), or (n, 3, t, h, w) for video, to an embedding (n, d), not normalised.

    One channel becomes three by the broadcast of mean and deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        sizes = configuration.vision
        self.video = configuration.modality == "video"
        self.frames = sizes.frames
        mean, std = CLIP_MEAN, CLIP_STD
        if configuration.modality == "audio":  # upstream divides by twice the deviation
            mean, std = (sizes.audio_mean,) * 3, (2 * sizes.audio_std,) * 3
        shape = (1, 3, 1, 1, 1) if self.video else (1, 3, 1, 1)
        # on the CPU even if the module is built on the meta device, since checkpoints do not contain them
        self.register_buffer("mean", torch.tensor(mean, device="cpu").reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std, device="cpu").reshape(shape), persistent=False)
        self.vision_model = VisionTransformer(sizes)
        self.visual_projection = nn.Linear(sizes.transformer.width, configuration.embedding_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed_normalised((x - self.mean) / self.std)

    def embed_normalised(self, x: Tensor) -> Tensor:
        """LanguageBind's `pixel_values`, (n, 3, h, w) or (n, 3, t, h, w), to its embedding (n, d)."""
        if self.video:
            x = x.transpose(1, 2).flatten(0, 1)
        pooled = self.vision_model(x)
        if self.video:
            pooled = torch.unflatten(pooled, 0, (-1, self.frames)).mean(1)
        out: Tensor = self.visual_projection(pooled)
        return out


class Attention(nn.Module):
    """Self-attention over (n, tokens, width); with `causal` a token does not attend to later ones."""

    def __init__(self, sizes: Transformer, *, causal: bool = False) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.causal = causal
        self.q_proj = nn.Linear(sizes.width, sizes.width)
        self.k_proj = nn.Linear(sizes.width, sizes.width)
        self.v_proj = nn.Linear(sizes.width, sizes.width)
        self.out_proj = nn.Linear(sizes.width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self._split(self.q_proj(x)), self._split(self.k_proj(x)), self._split(self.v_proj(x))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to (n, heads, tokens, width / heads)."""
        return torch.unflatten(x, -1, (self.heads, -1)).transpose(1, 2)


class Perceptron(nn.Module):
    """Two linear maps with a GELU between them."""

    def __init__(self, sizes: Transformer) -> None:
        super().__init__()
        self.quick = sizes.activation == "quick_gelu"
        self.fc1 = nn.Linear(sizes.width, sizes.hidden)
        self.fc2 = nn.Linear(sizes.hidden, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        out: Tensor = self.fc2(x * torch.sigmoid(QUICK * x) if self.quick else F.gelu(x))
        return out


class Layer(nn.Module):
    """Pre-norm attention within a frame, then a perceptron."""

    def __init__(self, sizes: Transformer, *, causal: bool = False) -> None:
        super().__init__()
        self.self_attn = Attention(sizes, causal=causal)
        self.layer_norm1 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.mlp = Perceptron(sizes)
        self.layer_norm2 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class TimedLayer(nn.Module):
    """`Layer` after attention over time: each patch attends to the same patch in the other frames of its clip."""

    def __init__(self, sizes: Transformer, frames: int, *, perceptron: bool) -> None:
        super().__init__()
        self.frames = frames
        self.temporal_embedding = nn.Parameter(torch.zeros(1, frames, sizes.width))
        self.temporal_attn = Attention(sizes)
        self.temporal_layer_norm1 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.temporal_mlp = Perceptron(sizes) if perceptron else None
        self.temporal_layer_norm2 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps) if perceptron else None
        self.self_attn = Attention(sizes)
        self.layer_norm1 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.mlp = Perceptron(sizes)
        self.layer_norm2 = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self._swap(self._across_time(self._swap(x, self.frames)), x.shape[1])
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out

    def _across_time(self, x: Tensor) -> Tensor:
        """(clips * tokens, frames, width) to the same."""
        if self.frames > 1:
            x = x + self.temporal_embedding
        x = x + self.temporal_attn(self.temporal_layer_norm1(x))
        if self.temporal_mlp is not None and self.temporal_layer_norm2 is not None:
            x = x + self.temporal_mlp(self.temporal_layer_norm2(x))
        return x

    def _swap(self, x: Tensor, inner: int) -> Tensor:
        """(clips * inner, outer, width) to (clips * outer, inner, width)."""
        return torch.unflatten(x, 0, (-1, inner)).transpose(1, 2).flatten(0, 1)


class Layers(nn.Module):
    """Layers one after the other."""

    def __init__(self, layers: list[Layer] | list[TimedLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x
