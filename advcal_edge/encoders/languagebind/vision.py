"""The tower of one sensor: physical input to embedding, every frame as a vision transformer sees an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advcal_edge.encoders.languagebind.sizes import Configuration, VisionSizes
from advcal_edge.encoders.languagebind.transformer import Layer, Layers, TimedLayer

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Embeddings(nn.Module):
    """Frames (n * frames, 3, h, w) to tokens (n * frames, 1 + patches, width), the class token first."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        width = sizes.transformer.width
        self.frames = sizes.frames
        self.class_embedding = nn.Parameter(torch.zeros((sizes.frames, width) if sizes.class_token_a_frame else width))
        self.patch_embedding = nn.Conv2d(3, width, sizes.patch, sizes.patch, bias=False)
        self.position_embedding = nn.Embedding(sizes.tokens, width)  # all rows, always: the table alone, no look-up

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
        first, _ = torch.split(tokens, [1, tokens.shape[1] - 1], dim=1)  # picked by index, it would export as a gather
        out: Tensor = self.post_layernorm(first.squeeze(1))
        return out


class Trunk(nn.Module):
    """Physical x (n, c, h, w), or (n, 3, t, h, w) for video, to an embedding (n, d), not yet of unit length.

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
        # on the CPU even where the module is built without memory, since no checkpoint holds them
        self.register_buffer("mean", torch.tensor(mean, device="cpu").reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std, device="cpu").reshape(shape), persistent=False)
        self.vision_model = VisionTransformer(sizes)
        self.visual_projection = nn.Linear(sizes.transformer.width, configuration.embedding_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed_normalised((x - self.mean) / self.std)

    def embed_normalised(self, x: Tensor) -> Tensor:
        """What LanguageBind calls `pixel_values`, (n, 3, h, w) or (n, 3, t, h, w), to its embedding (n, d)."""
        if self.video:
            x = x.transpose(1, 2).flatten(0, 1)
        pooled = self.vision_model(x)
        if self.video:
            pooled = torch.unflatten(pooled, 0, (-1, self.frames)).mean(1)
        out: Tensor = self.visual_projection(pooled)
        return out
