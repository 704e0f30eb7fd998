"""The classifier whose last layer draws class activation maps (paper, section 3.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from affinitynet.core.prototypes import activate
from affinitynet.networks.backbones import Backbone
from affinitynet.networks.parameters import Form


class CAMNet(nn.Module):
    """Backbone, global average pooling and a fully connected layer to the classes.

    The layer is a 1x1 convolution. Pooling commutes with it, so pooling first gives the logits and
    not pooling gives the maps, with the same weights.

    Args:
        backbone: The network below; its final map is used.
        classes: K.
        form: `released`: no bias. `paper` (section 4.1): a 3x3 convolution with 512 channels and
            ReLU before the pooling, and a bias, which the maps leave out.
        dropout: Probability of dropping a channel while training (0.5 in the release, none in the
            paper).
        square_root: Draw the square root of the activations, as the release does with VGG-16.

    Raises:
        ValueError: If there is no such form.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        form: Form = "released",
        dropout: float = 0.5,
        square_root: bool = False,
    ) -> None:
        super().__init__()
        check_form(form)
        self.backbone = backbone
        channels = backbone.channels[-1]
        self.adapt = nn.Sequential()
        if form == "paper":
            self.adapt = nn.Sequential(nn.Conv2d(channels, 512, 3, padding=1), nn.ReLU())
            channels = 512
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels, classes, 1, bias=form == "paper")
        self.square_root = square_root
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class for each photo.

        Args:
            images: RGB photos (N, 3, H, W), float in [0, 1].

        Returns:
            Logits (N, K).
        """
        pooled = functional.adaptive_avg_pool2d(self.features(images), 1)
        logits: Tensor = self.classifier(self.dropout(pooled)).flatten(1)
        return logits

    def cam(self, images: Tensor, prototypes: Tensor | None = None) -> Tensor:
        """Draw the class activation maps, eq. (1) of the paper before normalisation.

        Args:
            images: RGB photos (N, 3, H, W), float in [0, 1].
            prototypes: (K, C), which draw the maps in place of the last layer's weights.

        Returns:
            Activations (N, K, h, w) at the output stride, negative ones set to zero.
        """
        return self.activate(self.features(images), prototypes)

    def features(self, images: Tensor) -> Tensor:
        """Compute what the last layer sees of photos: (N, C, h, w) at the output stride."""
        features: Tensor = self.adapt(self.backbone(images)[-1])
        return features

    def activate(self, features: Tensor, prototypes: Tensor | None = None) -> Tensor:
        """Draw the maps of features (N, C, h, w), see `cam`."""
        if prototypes is not None:
            return activate(features, prototypes)
        activations = functional.relu(functional.conv2d(features, self.classifier.weight))
        return activations.sqrt() if self.square_root else activations


class WithMaps(nn.Module):
    """What a classifier's last layer sees, and the classes' maps behind it.

    Args:
        network: The classifier.
        prototypes: As for `CAMNet.cam`.

    Attributes:
        channels: Of the features, and of the maps.
    """

    def __init__(self, network: CAMNet, prototypes: Tensor | None = None) -> None:
        super().__init__()
        self.network, self.backbone = network, network.backbone
        self.channels = [network.classifier.in_channels, network.classifier.out_channels]
        self.prototypes: Tensor | None
        self.register_buffer("prototypes", prototypes)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features and maps of photos: (N, sum of `channels`, h, w)."""
        features = self.network.features(images)
        return torch.cat([features, self.network.activate(features, self.prototypes)], dim=1)


def check_form(form: str) -> None:
    """Raise a ValueError if there is no such form of the heads."""
    if form not in ("released", "paper"):
        raise ValueError(f"network.head.form: '{form}'; give 'released' or 'paper'")
