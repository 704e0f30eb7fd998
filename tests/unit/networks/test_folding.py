"""Norms and activations that convolutions compute."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from affinitynet.networks.affinity_net import AffinityNet
from affinitynet.networks.backbones import Backbone
from affinitynet.networks.cam_net import CAMNet
from affinitynet.networks.cpu import fold_fixed_norms, fuse_activations, optimize_for_cpu
from affinitynet.networks.folding import fold_norms
from affinitynet.networks.inference import prepare_for_inference
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


class Crossed(nn.Module):
    """Its norm and activation are listed after the convolution, and applied before it."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.other = nn.Conv2d(3, 3, 1)
        self.activation = nn.ReLU6()

    def forward(self, images):
        return self.other(self.convolution(self.activation(self.norm(images))))


def test_what_another_layer_feeds_is_left_alone():
    network = trained(Crossed())
    expected = network(photos())

    assert fold_norms(network) is network
    fold_fixed_norms(network, [network])
    fuse_activations(network)

    torch.testing.assert_close(network(photos()), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "vgg16_deeplab"])
def test_inference_computes_what_the_network_did(name):
    network = trained(CAMNet(Backbone(name, output_stride=8), 3))
    expected = network(photos())
    quick = prepare_for_inference(network)
    with torch.inference_mode():
        torch.testing.assert_close(quick(photos()), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("test_efficientnet", []),
        ("test_efficientnet", ["backbone.trunk.blocks.0"]),
        ("resnet18", []),
    ],
)
def test_with_folded_norms_the_same_is_learnt(name, frozen):
    def learn(fold):
        torch.manual_seed(0)
        network = trained(CAMNet(Backbone(name, output_stride=16), 3, dropout=0.0)).double()
        parts = dict(network.named_modules())
        fixed = [part for part in parts.values() if isinstance(part, _BatchNorm)]
        for part in frozen:
            fixed.append(parts[part].requires_grad_(False))
        if fold:
            optimize_for_cpu(network, fixed)
        network(photos().double()).square().sum().backward()
        return {key: weight.grad for key, weight in network.named_parameters()}

    expected, found = learn(fold=False), learn(fold=True)
    assert list(found) == list(expected)
    for key, gradient in expected.items():
        if gradient is None:
            assert found[key] is None
        else:
            torch.testing.assert_close(found[key], gradient, rtol=1e-6, atol=1e-9, msg=key)


def test_only_norms_that_keep_their_statistics_are_folded():
    network = trained(SegmentationNet(Backbone("test_efficientnet"), 3, channels=8))
    fold_fixed_norms(network, [network.backbone])
    network.train()
    network.backbone.eval()
    before = {name: value.clone() for name, value in network.named_buffers()}

    network(photos())

    changed = {name for name, value in network.named_buffers() if not value.equal(before[name])}
    assert {name.split(".")[0] for name in changed} == {"head"}
