"""The three networks: shapes, and what makes each what it is."""

import pytest
import torch
from torch.nn import functional

from affinitynet.networks.affinity_net import AffinityNet
from affinitynet.networks.backbones import Backbone
from affinitynet.networks.cam_net import CAMNet
from affinitynet.networks.segmentation_net import SegmentationNet


@pytest.fixture
def photos():
    return torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_cams_are_drawn_on_the_grid_of_the_stride(output_stride, photos):
    network = CAMNet(Backbone("resnet10t", output_stride=output_stride), 5).eval()

    cams = network.cam(photos)

    assert network(photos).shape == (2, 5)
    assert cams.shape == (2, 5, 64 // output_stride, 48 // output_stride)
    assert cams.min() >= 0


def test_logits_are_the_means_of_the_maps_before_relu(photos):
    network = CAMNet(Backbone("resnet10t"), 5).eval()
    network.classifier.weight.data.abs_()  # positive features, so that ReLU changes nothing

    torch.testing.assert_close(network(photos), network.cam(photos).mean((2, 3)))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_affinity_features_lie_on_the_grid_of_the_shallowest_level(output_stride, photos):
    backbone = Backbone("resnet10t", output_stride=output_stride)
    network = AffinityNet(backbone, channels=(8, 16, 32)).eval()

    assert network(photos).shape == (2, 56, 8, 6)


def test_affinity_network_needs_channels_for_every_level():
    with pytest.raises(ValueError, match="2 channels for 3 levels of resnet10t"):
        AffinityNet(Backbone("resnet10t"), channels=(8, 16))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_segmentation_scores_background_and_classes(output_stride, photos):
    backbone = Backbone("resnet10t", output_stride=output_stride)
    network = SegmentationNet(backbone, 5, channels=16).eval()

    assert network(photos).shape == (2, 6, 64 // output_stride, 48 // output_stride)


def test_atrous_convolutions_see_the_same_pixels_at_either_stride():
    heads = [
        SegmentationNet(
            Backbone("resnet10t", output_stride=stride), 2, channels=4, dilation=4
        ).head.eval()
        for stride in (8, 16)
    ]
    heads[1].load_state_dict(heads[0].state_dict())
    fine = torch.rand(1, 512, 16, 16)
    coarse = fine[..., ::2, ::2]

    torch.testing.assert_close(heads[0](fine)[..., ::2, ::2], heads[1](coarse))


def test_gradients_reach_the_backbone_of_each_network(photos):
    networks = [
        CAMNet(Backbone("resnet10t"), 3),
        AffinityNet(Backbone("resnet10t"), channels=(4, 4, 4)),
        SegmentationNet(Backbone("resnet10t"), 3, channels=4),
    ]
    for network in networks:
        functional.softplus(network(photos)).mean().backward()

        assert network.backbone.trunk.conv1[0].weight.grad.abs().sum() > 0


def test_the_papers_classifier_has_a_convolution_below_the_pooling(photos):
    network = CAMNet(Backbone("resnet10t"), 5, form="paper").eval()
    (convolution, _) = network.adapt
    assert (convolution.kernel_size, convolution.out_channels) == ((3, 3), 512)
    network.classifier.weight.data.abs_()

    # the maps leave the bias out
    means = network.cam(photos).mean((2, 3)) + network.classifier.bias
    torch.testing.assert_close(network(photos), means)


def test_the_papers_affinity_network_has_896_features(photos):
    network = AffinityNet(Backbone("resnet10t"), form="paper").eval()

    assert [head.out_channels for head in network.compress] == [128, 256, 512]
    assert network(photos).shape == (2, 896, 8, 6)


@pytest.mark.parametrize("network", [lambda **a: CAMNet(classes=5, **a), AffinityNet])
def test_an_unknown_form_is_named(network):
    with pytest.raises(ValueError, match=r"head\.form: 'thesis'; give 'released' or 'paper'"):
        network(backbone=Backbone("resnet10t"), form="thesis")
