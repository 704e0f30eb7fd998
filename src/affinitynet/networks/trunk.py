"""Base of the backbones that timm lacks: timm's protocol for feature maps."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn


class Trunk(nn.Module, ABC):
    """A network without classifier that gives its maps as timm's networks do.

    Attributes:
        feature_info: The maps, shallow to deep: `num_chs`, `reduction` and `module`, the name that
            `activations` gives them.
        num_features: Channels of the last map.
    """

    feature_info: Sequence[Mapping[str, Any]]
    num_features: int

    @abstractmethod
    def activations(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield names and activated maps of normalised photos (N, 3, H, W); the last is final."""

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised photos (N, 3, H, W) to the final map (N, `num_features`, h, w)."""
        final: Tensor = self.forward_intermediates(images, indices=[])[0]
        return final

    def forward_intermediates(
        self, images: Tensor, *, indices: Sequence[int], intermediates_only: bool = False
    ) -> Any:
        """Compute the final map and those of `feature_info`; timm's protocol.

        Args:
            images: Normalised photos (N, 3, H, W).
            indices: Which maps, in ascending order.
            intermediates_only: Leave out the final map.

        Returns:
            The final map and the list of maps, or only the list.
        """
        wanted = [self.feature_info[index]["module"] for index in indices]
        kept = {}
        for name, activated in self.activations(images):
            if name in wanted:  # the others are let go at once
                kept[name] = activated
        maps = [kept[name] for name in wanted]
        return maps if intermediates_only else (activated, maps)
