"""The losses as the loop calls them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from affinitynet.core import affinity
from affinitynet.training.losses import affinity_loss, classification_loss, segmentation_loss


def test_tag_loss_is_small_where_logits_agree_with_tags():
    tags = torch.tensor([[1.0, 0.0], [0.0, 1.0]])

    assert classification_loss(nn.Identity(), (20 * tags - 10, tags)) < 1e-3
    assert classification_loss(nn.Identity(), (10 - 20 * tags, tags)) > 5


def test_pixel_loss_ignores_unknown_pixels():
    logits = torch.zeros(1, 2, 2, 2)
    logits[:, 1] = 30
    labels = torch.ones(1, 8, 8, dtype=torch.long)
    labels[:, :4] = 255

    assert segmentation_loss(nn.Identity(), (logits, labels)) < 1e-6
    assert segmentation_loss(nn.Identity(), (logits, torch.full_like(labels, 255))) == 0


@pytest.mark.parametrize("size", [(32, 48), (4, 6), (3, 5)])
def test_pixel_loss_is_the_cross_entropy_of_bilinearly_upsampled_logits(size):
    logits = torch.rand(2, 3, 4, 6, dtype=torch.double, requires_grad=True)
    labels = torch.randint(0, 3, (2, *size))
    upsampled = functional.interpolate(logits.float(), size, mode="bilinear")
    expected = functional.cross_entropy(upsampled, labels)

    with torch.autocast("cpu", torch.bfloat16):
        loss = segmentation_loss(nn.Identity(), (logits, labels))

    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, logits)[0] for value in (loss, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_pair_loss_compares_labels_at_the_features_cells():
    features = torch.rand(1, 4, 6, 6)
    cells = torch.randint(0, 3, (1, 6, 6))
    labels = cells.repeat_interleave(8, 1).repeat_interleave(8, 2)

    loss = affinity_loss(nn.Identity(), (features, labels), radius=3)

    assert loss == pytest.approx(float(affinity.affinity_loss(features, cells, radius=3)))
