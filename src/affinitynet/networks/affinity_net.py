"""AffinityNet: features whose L1 distance tells which pixels belong together (section 3.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from affinitynet.networks.backbones import Backbone


class AffinityNet(nn.Module):
    """Three depths of the backbone, each compressed by a 1x1 convolution, fused by another.

    Args:
        backbone: The network below; its `levels` are used, on the grid of the shallowest one.
        channels: Channels that each level is compressed to, shallow to deep; their sum is the
            number of features (448 in the paper).

    Raises:
        ValueError: If there are not as many `channels` as levels.
    """

    def __init__(self, backbone: Backbone, *, channels: Sequence[int] = (64, 128, 256)) -> None:
        super().__init__()
        levels = backbone.channels[:-1]
        if len(channels) != len(levels):
            raise ValueError(
                f"affinity network: {len(channels)} channels for {len(levels)} levels of "
                f"{backbone.name}; give one number a level"
            )
        self.backbone = backbone
        self.compress = nn.ModuleList(
            nn.Conv2d(wide, narrow, 1, bias=False)
            for wide, narrow in zip(levels, channels, strict=True)
        )
        self.fuse = nn.Conv2d(sum(channels), sum(channels), 1, bias=False)
        for head in (*self.compress, self.fuse):
            nn.init.kaiming_normal_(head.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features.

        Args:
            images: RGB photos (N, 3, H, W), float in [0, 1].

        Returns:
            Features (N, C, h, w) on the grid of the shallowest level, stride 8 by default.
        """
        maps = [
            functional.elu(compress(level))
            for compress, level in zip(self.compress, self.backbone.levels(images), strict=True)
        ]
        size = maps[0].shape[-2:]
        maps = [
            functional.interpolate(level, size, mode="bilinear", align_corners=False)
            if level.shape[-2:] != size
            else level
            for level in maps
        ]
        return functional.elu(self.fuse(torch.cat(maps, dim=1)))
