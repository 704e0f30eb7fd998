"""VGG-16: DeepLab's grid and layers, and torchvision's weights in it."""

import pytest
import torch
import torchvision
from torch import nn

from affinitynet.networks.affinity_net import AffinityNet
from affinitynet.networks.backbones import Backbone, pretrained
from affinitynet.networks.cam_net import CAMNet
from affinitynet.networks.vgg16 import from_torchvision


@pytest.fixture(scope="module")
def torchvision_state():
    """torchvision's entries; the large ones hold one number an output and take no memory."""
    with torch.device("meta"):
        network = torchvision.models.vgg16()
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, entry in network.state_dict().items():
        if name.startswith("features."):
            fan_in = entry[0].numel() if entry.ndim > 1 else 1e4
            state[name] = torch.randn(entry.shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            rows = torch.arange(float(len(entry)))
            state[name] = rows.view(-1, *[1] * (entry.ndim - 1)).expand(entry.shape)
    return state


@torch.no_grad()
def test_maps_are_those_of_the_announced_layers():
    backbone = Backbone("vgg16_deeplab", output_stride=8, levels=(0, 1, 2, 3)).eval()

    maps = backbone(torch.rand(1, 3, 48, 64))

    assert [level.shape[1:] for level in maps] == [
        (256, 12, 16),
        (512, 6, 8),
        (512, 6, 8),
        (1024, 6, 8),
        (1024, 6, 8),
    ]
    assert backbone.channels == [256, 512, 512, 1024, 1024]
    assert torch.equal(maps[-1], maps[-2])


@torch.no_grad()
def test_shallow_levels_are_torchvisions(torchvision_state, tmp_path):
    torch.save(torchvision_state, tmp_path / "vgg16.pth")
    backbone = Backbone("vgg16_deeplab", output_stride=8, levels=(0,), mean=[0] * 3, std=[1] * 3)
    backbone.trunk.load_state_dict(pretrained("vgg16_deeplab", tmp_path / "vgg16.pth"))
    theirs = torchvision.models.vgg16().features
    theirs.load_state_dict(
        {
            name.removeprefix("features."): entry
            for name, entry in torchvision_state.items()
            if name.startswith("features.")
        }
    )
    for i in (4, 9):  # DeepLab's pools are 3x3
        theirs[i] = nn.MaxPool2d(3, 2, padding=1)
    photos = torch.rand(1, 3, 32, 40)

    torch.testing.assert_close(backbone.eval()(photos)[0], theirs[:16](photos))  # conv3_3, ReLU


def test_fully_connected_layers_are_thinned_out(torchvision_state):
    ours = from_torchvision(torchvision_state)

    assert ours["fc6.weight"].shape == (1024, 512, 3, 3)
    assert ours["fc7.weight"].shape == (1024, 1024, 1, 1)
    every_fourth = torch.arange(0.0, 4096, 4)
    assert torch.equal(ours["fc6.weight"][:, 5, 1, 2], every_fourth)
    assert torch.equal(ours["fc7.weight"][:, 7, 0, 0], every_fourth)
    assert torch.equal(ours["fc6.bias"], every_fourth)


def test_weights_of_another_vgg_are_refused(torchvision_state):
    less = {name: entry for name, entry in torchvision_state.items() if "features.28" not in name}

    with pytest.raises(ValueError, match="no weights of torchvision's vgg16"):
        from_torchvision(less)


@torch.no_grad()
def test_the_releases_heads_for_it():
    backbone = Backbone(
        "vgg16_deeplab", output_stride=8, levels=(1, 2, 3), options={"fc6_dilation": 1}
    )
    photos = torch.rand(1, 3, 32, 32)
    network = CAMNet(backbone, 3, square_root=True).eval()
    plain = CAMNet(backbone, 3).eval()
    plain.load_state_dict(network.state_dict())

    torch.testing.assert_close(network.cam(photos) ** 2, plain.cam(photos))
    assert backbone.trunk.fc6.dilation == (1, 1)
    assert AffinityNet(backbone, group_norm=True).eval()(photos).shape == (1, 448, 4, 4)


def test_it_has_stride_8_alone():
    with pytest.raises(ValueError, match="output stride 8, not 16"):
        Backbone("vgg16_deeplab", output_stride=16)
