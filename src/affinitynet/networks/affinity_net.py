"""AffinityNet: features whose L1 distance predicts which pixels belong together (section 3.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from affinitynet.networks.backbones import Backbone
from affinitynet.networks.cam_net import check_form
from affinitynet.networks.parameters import Form

CHANNELS = {"released": (64, 128, 256), "paper": (128, 256, 512)}
"""Channels that each level is compressed to, by form: 448 or 896 features."""


class AffinityNet(nn.Module):
    """Three depths of the backbone, each compressed by a 1x1 convolution, fused by another.

    Args:
        backbone: The network below; its `levels` are used, on the grid of the shallowest one.
        form: `released` or `paper` (section 4.1); they differ in the number of channels.
        channels: Channels that each level is compressed to, shallow to deep, instead of the
            form's; their sum is the number of features.
        group_norm: Normalise the compressed levels in groups of 8 channels, as the release does
            with VGG-16, which has no norms of its own.

    Raises:
        ValueError: If there is no such form, or not as many `channels` as levels.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        form: Form = "released",
        channels: Sequence[int] | None = None,
        group_norm: bool = False,
    ) -> None:
        super().__init__()
        check_form(form)
        channels = channels or CHANNELS[form]
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
        self.norms = nn.ModuleList(
            nn.GroupNorm(narrow // 8, narrow) if group_norm else nn.Identity()
            for narrow in channels
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
        return self.fuse_levels(self.backbone.levels(images))

    def fuse_levels(self, levels: Sequence[Tensor]) -> Tensor:
        """Compute the features from the backbone's maps."""
        maps = [
            functional.elu(norm(compress(level)))
            for compress, norm, level in zip(self.compress, self.norms, levels, strict=True)
        ]
        return functional.elu(self.fuse(torch.cat(_resize_to_first(maps), dim=1)))


class WithLevels(nn.Module):
    """AffinityNet's features, behind the backbone's maps that they are made of.

    The deepest map is left out where there are several: it shows what the classifier looks for,
    the others what the photo shows.

    Attributes:
        channels: Of each of the maps, and of the features.
    """

    def __init__(self, network: AffinityNet) -> None:
        super().__init__()
        self.network, self.backbone = network, network.backbone
        levels = self.backbone.channels[:-1]
        self.channels = [*(levels[:-1] or levels), network.fuse.out_channels]

    def forward(self, images: Tensor) -> Tensor:
        """Compute the maps and the features of photos: (N, sum of `channels`, h, w)."""
        levels = self.backbone.levels(images)
        features = self.network.fuse_levels(levels)
        return torch.cat([*_resize_to_first(levels[:-1] or levels), features], dim=1)


def _resize_to_first(maps: Sequence[Tensor]) -> list[Tensor]:
    size = maps[0].shape[-2:]
    return [
        functional.interpolate(level, size, mode="bilinear", align_corners=False)
        if level.shape[-2:] != size
        else level
        for level in maps
    ]
