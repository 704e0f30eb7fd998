"""Dilated depthwise convolutions, computed without dilation."""

import pytest
import torch
from torch import nn

from affinitynet.networks.affinity_net import AffinityNet
from affinitynet.networks.backbones import Backbone
from affinitynet.networks.depthwise import in_phases, quicken_inference, quicken_training


@pytest.mark.parametrize("size", [(14, 14), (9, 13), (1, 3)])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 2), (5, 2), (5, 4)])
def test_phases_give_what_the_dilated_convolution_gives(size, kernel, dilation):
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(6, 6, kernel, padding=padding, dilation=dilation, groups=6).double()
    images = torch.rand(2, 6, *size, dtype=torch.double, requires_grad=True)

    expected, found = conv(images), in_phases(conv, images)

    torch.testing.assert_close(found, expected)
    weights = torch.rand_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), [images, conv.weight]),
        torch.autograd.grad((expected * weights).sum(), [images, conv.weight]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("quicken", [quicken_inference, quicken_training])
def test_a_network_computes_what_it_did(quicken, trained):
    network = AffinityNet(Backbone("tf_efficientnet_lite0", output_stride=8), channels=(4, 4, 8))
    network.eval().requires_grad_(trained)
    photos = torch.rand(1, 3, 50, 66)
    names = list(network.state_dict())
    expected = network(photos)

    quicken(network)

    dilated = [part for part in network.modules() if "forward" in vars(part)]
    assert dilated
    torch.testing.assert_close(network(photos), expected, rtol=1e-4, atol=1e-4)
    assert list(network.state_dict()) == names
