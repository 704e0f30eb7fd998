"""The classifier whose last layer draws class activation maps (paper, section 3.1)."""

from torch import Tensor, nn
from torch.nn import functional

from affinitynet.networks.backbones import Backbone


class CAMNet(nn.Module):
    """Backbone, dropout, 1x1 convolution to the classes without bias, global average pooling.

    Pooling commutes with the convolution, so pooling first gives the logits and not pooling gives
    the maps, with the same weights.

    Args:
        backbone: The network below; its final map is used.
        classes: K.
        dropout: Probability of dropping a channel while training.
    """

    def __init__(self, backbone: Backbone, classes: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(backbone.channels[-1], classes, 1, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class for each photo.

        Args:
            images: RGB photos (N, 3, H, W), float in [0, 1].

        Returns:
            Logits (N, K).
        """
        pooled = functional.adaptive_avg_pool2d(self.backbone(images)[-1], 1)
        logits: Tensor = self.classifier(self.dropout(pooled)).flatten(1)
        return logits

    def cam(self, images: Tensor) -> Tensor:
        """Draw the class activation maps, eq. (1) of the paper before normalisation.

        Args:
            images: RGB photos (N, 3, H, W), float in [0, 1].

        Returns:
            Activations (N, K, h, w) at the output stride, negative ones set to zero.
        """
        return functional.relu(self.classifier(self.backbone(images)[-1]))
