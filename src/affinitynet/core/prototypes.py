"""Prototypes of classes: what a class looks like as a whole, not what tells it from others.

A classifier's weights answer to the most telling parts, so that its CAMs show heads and no bodies.
A prototype is the mean direction of the features under a class's maps, less their mean direction
in the rest of the same photos. After Chen and Sun, "Extracting Class Activation Maps from
Non-Discriminative Features as well", CVPR 2023, who take the centres of clusters for the means.
"""

import torch
from torch import Tensor
from torch.nn import functional


def sum_directions(features: Tensor, maps: Tensor) -> Tensor:
    """Sum the features' directions f / ||f|| under a photo's maps, and beside them.

    Args:
        features: (C, H, W).
        maps: Of K classes, (K, H, W) in [0, 1].

    Returns:
        (2, K, C + 1): weighted by M, and by 1 - M; in the last column the weights' own sum.
    """
    directions = functional.normalize(features, dim=0).flatten(1)
    weights = torch.stack([maps, 1 - maps]).flatten(2)
    return weights @ torch.cat([directions, torch.ones_like(directions[:1])]).T


def prototypes(sums: Tensor) -> Tensor:
    """Compute the classes' prototypes: the mean direction under their maps less that beside them.

    Args:
        sums: (2, K, C + 1), the photos' `sum_directions` added up.

    Returns:
        (K, C); zero for a class without a photo.
    """
    means = sums[..., :-1] / sums[..., -1:].clamp(min=torch.finfo(sums.dtype).tiny)
    return means[0] - means[1]


def activate(features: Tensor, by_class: Tensor) -> Tensor:
    """Draw the maps of prototypes: max(0, p_c . f / ||f||).

    Args:
        features: (N, C, H, W).
        by_class: Prototypes (K, C).

    Returns:
        (N, K, H, W), 0 or more.
    """
    directions = functional.normalize(features.float(), dim=1)
    return functional.relu(functional.conv2d(directions, by_class[:, :, None, None]))
