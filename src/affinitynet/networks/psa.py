"""The checkpoints that AffinityNet's authors published for ResNet-38.

`res38_cls.pth` holds the classifier, `res38_aff.pth` AffinityNet
(https://github.com/jiwoon-ahn/psa). Their entries are those of `affinitynet.networks.resnet38` and
of the heads, under other names. The modules compute what the release's do, to rounding, from the
same input: photos normalised by ImageNet's mean and standard deviation.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from affinitynet.networks.affinity_net import AffinityNet
from affinitynet.networks.backbones import Backbone
from affinitynet.networks.cam_net import CAMNet

Network = TypeVar("Network", bound=nn.Module)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HEADS = {
    "fc8": "classifier",
    "f8_3": "compress.0",
    "f8_4": "compress.1",
    "f8_5": "compress.2",
    "f9": "fuse",
}
"""Layers of the release above the backbone -> ours."""


def cam_net(
    state_dict: Mapping[str, Tensor],
    *,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> CAMNet:
    """Build the classifier from `res38_cls.pth`.

    Args:
        state_dict: Its 229 entries: conv1a, b2 … b7, bn7, fc8.
        mean: Subtracted from the input. The default leaves the input as it is:
            already normalised, as the release's network wants it. With `IMAGENET_MEAN` and
            `IMAGENET_STD` the input is RGB in [0, 1].
        std: Divides it then.

    Returns:
        The network in evaluation mode: called, it gives logits (N, K); `cam` gives ReLU'd maps
        (N, K, H / 8, W / 8).

    Raises:
        ValueError: If an entry is missing, superfluous or of another shape.
    """
    classes = len(state_dict["fc8.weight"]) if "fc8.weight" in state_dict else 20
    return _load(CAMNet(_backbone(mean, std), classes), state_dict)


def affinity_net(
    state_dict: Mapping[str, Tensor],
    *,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> AffinityNet:
    """Build AffinityNet from `res38_aff.pth`.

    Args:
        state_dict: Its 232 entries: conv1a, b2 … b7, bn7, f8_3, f8_4, f8_5, f9.
        mean: As for `cam_net`.
        std: As for `cam_net`.

    Returns:
        The network in evaluation mode: called, it gives features (N, 448, H / 8, W / 8).

    Raises:
        ValueError: If an entry is missing, superfluous or of another shape.
    """
    return _load(AffinityNet(_backbone(mean, std)), state_dict)


def is_release(state_dict: Mapping[str, Any]) -> bool:
    """Whether the entries are named as in the release's checkpoints."""
    return "conv1a.weight" in state_dict


def rename(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the release's entries the names that they have in `CAMNet` and `AffinityNet`."""
    renamed = {}
    for key, value in state_dict.items():
        layer, _, entry = key.partition(".")
        ours = HEADS.get(layer, f"backbone.trunk.{layer}")
        renamed[f"{ours}.{entry}"] = value
    return renamed


def _backbone(mean: Sequence[float], std: Sequence[float]) -> Backbone:
    return Backbone("resnet38", output_stride=8, mean=mean, std=std)


def _load(network: Network, state_dict: Mapping[str, Tensor]) -> Network:
    try:
        network.load_state_dict(rename(state_dict))
    except RuntimeError as error:
        raise ValueError(f"this is no checkpoint of the release: {error}") from None
    return network.eval()
