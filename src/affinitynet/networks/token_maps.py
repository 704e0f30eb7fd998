"""Transformers as backbones: any size of photo, and maps of what they compute of each patch.

Their strides are fixed, as there are no convolutions to dilate. So photos are resized, to whole
numbers of cells. Plain transformers (ViT, DeiT, DINOv2, CLIP) see a photo enlarged until a patch
covers `output_stride` of its pixels. Those in stages (Swin) have fine maps already: the coarse ones
are upsampled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

DEPTHS = 4
"""Maps of a plain transformer: its blocks are as many stages of equal length."""
ANY_SIZE = ({"dynamic_img_size": True}, {"strict_img_size": False})
"""Arguments of timm's transformers, one or the other, that let them take photos of any size."""


class TokenMaps:
    """The maps of a transformer of timm, in the protocol that `Backbone` uses.

    Args:
        output_stride: Pixels of the photo a cell of the deepest maps.
    """

    def __init__(self, trunk: Any, output_stride: int) -> None:
        info: Sequence[Mapping[str, Any]] = [*trunk.feature_info]
        self.output_stride = output_stride
        self.cell: int = info[-1]["reduction"]
        self.is_plain = info[0]["reduction"] == self.cell
        self.blocks = [*range(len(info))]
        if self.is_plain:
            self.blocks = [(i + 1) * len(info) // DEPTHS - 1 for i in range(DEPTHS)]
        self.coarse = [
            index
            for index, block in enumerate(self.blocks)
            if not self.is_plain and info[block]["reduction"] > output_stride
        ]
        self.channels: list[int] = [info[block]["num_chs"] for block in self.blocks]

    def __call__(self, trunk: nn.Module, images: Tensor, indices: Sequence[int]) -> list[Tensor]:
        """Compute maps, normalised as the network's last ones are.

        Args:
            images: Normalised photos (N, 3, H, W).
            indices: Which of the maps, in ascending order.

        Returns:
            The maps (N, C, h, w).
        """
        height, width = images.shape[-2:]
        covered = self.output_stride if self.is_plain else self.cell
        grid = (-(-height // covered), -(-width // covered))
        size = (grid[0] * self.cell, grid[1] * self.cell)
        # of the same size it changes nothing; a condition would not be kept by ONNX
        images = functional.interpolate(images, size, mode="bilinear")
        maps: list[Tensor] = trunk.forward_intermediates(  # type: ignore[operator]
            images,
            indices=[self.blocks[index] for index in indices],
            norm=True,
            intermediates_only=True,
        )
        finest = (-(-height // self.output_stride), -(-width // self.output_stride))
        return [
            functional.interpolate(each, finest, mode="bilinear") if index in self.coarse else each
            for index, each in zip(indices, maps, strict=True)
        ]
