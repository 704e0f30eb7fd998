"""Convolutions in the form that a CPU computes fastest give what torch's and timm's give."""

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn
from torch.nn.grad import conv2d_weight

from affinitynet.networks.affinity_net import AffinityNet
from affinitynet.networks.backbones import Backbone
from affinitynet.networks.cpu import convolve, depthwise, optimize_for_cpu, weight_gradient


def gradients(maps, inputs):
    weights = torch.rand(maps.shape, generator=torch.Generator().manual_seed(0)).to(maps)
    return torch.autograd.grad((maps * weights).sum(), inputs)


@pytest.mark.parametrize("size", [(14, 14), (9, 13), (1, 3)])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 2), (5, 1), (5, 2), (5, 4), (7, 3)])
def test_depthwise_convolutions_and_their_gradients(size, kernel, dilation):
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(6, 6, kernel, padding=padding, dilation=dilation, groups=6).double()
    images = torch.rand(2, 6, *size, dtype=torch.double, requires_grad=True)
    inputs = [images, conv.weight, conv.bias]

    expected, found = conv(images), depthwise(*inputs, dilation)

    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(depthwise(*inputs, dilation), expected)


def test_an_activation_in_place_may_follow_a_dilated_one():
    weight = torch.rand(4, 1, 3, 3, requires_grad=True)
    maps = depthwise(torch.rand(1, 4, 6, 6), weight, dilation=2, activation=nn.ReLU6(inplace=True))
    assert maps.max() <= 6
    maps.sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
def test_the_gradient_of_a_depthwise_convolutions_weights(kernel):
    images, gradient = torch.rand(2, 2, 5, 8, 7, dtype=torch.double)
    expected = conv2d_weight(
        images, [5, 1, kernel, kernel], gradient, padding=kernel // 2, groups=5
    )
    torch.testing.assert_close(weight_gradient(images, gradient, kernel), expected)


def test_it_is_in_single_precision_for_maps_in_bfloat16():
    images, gradient = torch.rand(2, 2, 5, 8, 7).bfloat16()
    found = weight_gradient(images, gradient, 5)
    expected = weight_gradient(images.double(), gradient.double(), 5)
    torch.testing.assert_close(found, expected.float())


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU])
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 8, 1, bias=False),
        nn.Conv2d(4, 8, 3, stride=2, padding=1),
        nn.Conv2d(4, 4, 5, padding=2, groups=4),
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        nn.Conv2d(4, 8, 3, padding="same"),
        nn.Conv2d(4, 8, 3, padding="valid"),
        nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"),
        Conv2dSame(4, 8, 3, stride=2),
        Conv2dSame(4, 4, 5, stride=2, groups=4),
        Conv2dSame(4, 4, 3, stride=2, dilation=2, groups=4),
    ],
    ids=str,
)
def test_any_convolution_and_the_activation_after_it(conv, activation, learns):
    conv = conv.requires_grad_(learns)
    for size in [(12, 12), (13, 9)]:
        images = torch.rand(2, 4, *size) * 20 - 10
        found = convolve(conv, images, conv.weight, conv.bias, activation())
        torch.testing.assert_close(found, activation()(conv(images)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trained", [True, False])
def test_a_network_computes_what_it_did(trained, precision):
    network = AffinityNet(Backbone("tf_efficientnet_lite0", output_stride=8), channels=(4, 4, 8))
    network.eval().requires_grad_(trained)
    photos = torch.rand(1, 3, 50, 66)
    names = list(network.state_dict())
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        expected = network(photos)
        optimize_for_cpu(network)
        found = network(photos)

    assert all("forward" in vars(p) for p in network.modules() if isinstance(p, nn.Conv2d))
    tolerance = 1e-4 if precision is torch.float32 else 0.05 * expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=tolerance)
    assert list(network.state_dict()) == names


def test_the_switch_leaves_a_network_as_it_is(monkeypatch):
    monkeypatch.setenv("AFFINITYNET_OPTIMIZE_FOR_CPU", "0")
    network = AffinityNet(Backbone("test_resnet", output_stride=8), channels=(4, 4, 8)).eval()
    optimize_for_cpu(network)
    optimize_for_cpu(network, [network.backbone])
    assert not any("forward" in vars(part) for part in network.modules())


@pytest.mark.parametrize("missing", ["_convolution_pointwise", "_is_mkldnn_bf16_supported"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_operator_that_torch_lacks_is_done_without(monkeypatch, missing, dtype):
    class Without:
        def __getattr__(self, name):
            if name == missing:
                raise AttributeError(name)
            return getattr(operators, name)

    operators = torch.ops.mkldnn
    conv, images = nn.Conv2d(3, 4, 3), torch.rand(2, 3, 8, 8).to(dtype)
    conv = conv.to(dtype)
    with torch.no_grad():
        expected = nn.ReLU()(conv(images))
        monkeypatch.setattr(torch.ops, "mkldnn", Without())
        found = convolve(conv, images, conv.weight, conv.bias, nn.ReLU())
    torch.testing.assert_close(found, expected)
