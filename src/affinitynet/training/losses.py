"""The loss of each network on one batch, as `affinitynet.training.loop.train` calls it.

Where several processes share a batch, each of these is the process's share: its sum over the
whole batch's count, so that the shares add up to the batch's loss. A mean of the processes' means
would weigh pairs and pixels by the process that they happen to fall to.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from affinitynet.core import affinity
from affinitynet.core.label_maps import IGNORE_INDEX
from affinitynet.training.ranks import all_reduce_sum

Batch = tuple[Tensor, Tensor]


def classification_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Multi-label soft margin between a `CAMNet`'s logits and the tags (N, K), 0 or 1."""
    photos, tags = batch
    total = functional.multilabel_soft_margin_loss(network(photos).float(), tags, reduction="sum")
    return total / all_reduce_sum(tags.new_full((), len(tags)))  # filled there: a copy would wait


def affinity_loss(network: nn.Module, batch: Batch, *, radius: int = 5) -> Tensor:
    """Affinity loss of an `AffinityNet`'s features (paper, section 3.2.2) on label maps (N, H, W).

    The labels are taken at the centres of the features' cells.

    Args:
        batch: Photos and label maps.
        radius: Pairs of cells closer than this are compared.
    """
    photos, labels = batch
    features = network(photos).float()
    cells = functional.interpolate(
        labels[:, None].float(), features.shape[-2:], mode="nearest-exact"
    )
    return affinity.affinity_loss(
        features,
        cells[:, 0].long(),
        radius=radius,
        ignore_index=IGNORE_INDEX,
        all_reduce_sum=all_reduce_sum,
    )


def segmentation_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy between a `SegmentationNet`'s upsampled logits and label maps (N, H, W)."""
    photos, labels = batch
    logits = _upsample(network(photos).float(), labels.shape[-2:])
    if logits.is_cuda:  # of images it adds up in any order there, of a list in one
        logits, labels = logits.movedim(1, -1).flatten(0, -2), labels.flatten()
    total = functional.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum")
    # no labelled pixel at all makes no loss, where the mean would be 0 / 0
    return total / all_reduce_sum((labels != IGNORE_INDEX).sum()).clamp(min=1)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cam": classification_loss,
    "affinity": affinity_loss,
    "segmentation": segmentation_loss,
}
"""By the kind of network."""


def _upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear upsampling as two matrix products, whose gradients take a quarter of the time."""
    rows, columns = (
        functional.interpolate(torch.eye(few, device=maps.device)[:, None], many, mode="linear")
        for few, many in zip(maps.shape[-2:], size, strict=True)
    )
    with torch.autocast(maps.device.type, enabled=False):
        return rows[:, 0].T @ maps.contiguous() @ columns[:, 0]
