"""What inference does to a network before it is run."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from affinitynet.networks.affinity_net import AffinityNet
from affinitynet.networks.backbones import Backbone
from affinitynet.networks.cam_net import CAMNet
from affinitynet.networks.inference import fold_norms
from affinitynet.networks.segmentation_net import SegmentationNet


def photos():
    return torch.rand(2, 3, 50, 66, generator=torch.Generator().manual_seed(0))


def trained(network):
    """The network with norms as training leaves them."""
    generator = torch.Generator().manual_seed(0)
    for part in network.modules():
        if isinstance(part, _BatchNorm):
            for values, low, high in (
                (part.running_mean, -0.5, 0.5),
                (part.running_var, 0.5, 2.0),
                (part.weight.data, 0.5, 1.5),
                (part.bias.data, -0.5, 0.5),
            ):
                values.uniform_(low, high, generator=generator)
    return network.eval()


def norms(network):
    return sum(isinstance(part, _BatchNorm) for part in network.modules())


@pytest.mark.parametrize(
    "network",
    [
        lambda: CAMNet(Backbone("tf_efficientnet_lite0", output_stride=8), 5),
        lambda: SegmentationNet(Backbone("resnet18"), 3, channels=8),
        lambda: AffinityNet(Backbone("test_efficientnet"), channels=(4, 4, 8)),
    ],
)
def test_norms_are_folded_and_nothing_else_changes(network):
    network = trained(network())
    before = {name: value.clone() for name, value in network.state_dict().items()}

    folded = fold_norms(network)

    assert norms(folded) == 0 < norms(network)
    with torch.inference_mode():
        torch.testing.assert_close(folded(photos()), network(photos()), rtol=1e-4, atol=1e-4)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["resnetv2_50", "resnet50", "vgg16_deeplab"])
def test_any_backbone_computes_what_it_did(name):
    network = trained(CAMNet(Backbone(name, output_stride=8), 3))
    folded = fold_norms(network)
    with torch.inference_mode():
        torch.testing.assert_close(folded(photos()), network(photos()), rtol=1e-3, atol=1e-4)


def test_a_norm_that_another_layer_feeds_is_left_alone():
    class Crossed(nn.Module):
        """Its norm is listed after the convolution, and applied before it."""

        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 3, 3)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, images):
            return self.convolution(self.norm(images).relu())

    network = trained(Crossed())
    assert fold_norms(network) is network
