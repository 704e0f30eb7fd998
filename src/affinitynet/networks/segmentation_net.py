"""The segmentation network that learns from the pseudo labels (section 3.4)."""

from torch import Tensor, nn

from affinitynet.networks.backbones import Backbone


class SegmentationNet(nn.Module):
    """Backbone and two atrous 3x3 convolutions, the second one to background and classes.

    Args:
        backbone: The network below; its final map is used.
        classes: K, background not counted.
        channels: Channels between the two convolutions.
        dilation: Dilation of both at stride 8 (12 in the paper). At stride 16 it is halved, so
            that the same weights see the same pixels at either stride.
        dropout: Probability of dropping a channel before the last convolution.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        channels: int = 512,
        dilation: int = 12,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        cells = max(1, dilation * 8 // backbone.output_stride)
        self.head = nn.Sequential(
            nn.Conv2d(
                backbone.channels[-1], channels, 3, padding=cells, dilation=cells, bias=False
            ),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(channels, classes + 1, 3, padding=cells, dilation=cells),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score background and classes in each cell.

        Args:
            images: RGB photos (N, 3, H, W), float in [0, 1].

        Returns:
            Logits (N, K + 1, h, w) at the output stride, background first.
        """
        logits: Tensor = self.head(self.backbone(images)[-1])
        return logits
