"""Transformers as backbones, tiny ones of each family with random weights."""

import pytest
import torch

from affinitynet.networks.affinity_net import AffinityNet
from affinitynet.networks.backbones import Backbone
from affinitynet.networks.cam_net import CAMNet
from affinitynet.networks.checkpoint import initialise
from affinitynet.networks.inference import prepare_for_inference
from affinitynet.networks.segmentation_net import SegmentationNet

PLAIN = {"embed_dim": 16, "depth": 4, "num_heads": 2}
STAGES = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
FAMILIES = {
    "vit_tiny_patch16_224": PLAIN,
    "deit_tiny_patch16_224": PLAIN,
    "vit_small_patch14_dinov2": PLAIN,
    "vit_small_patch16_dinov3": PLAIN,
    "vit_base_patch16_clip_224": PLAIN,
    "swin_tiny_patch4_window7_224": STAGES,
    "swinv2_tiny_window8_256": STAGES,
}
SIZE = (70, 101)


@pytest.fixture(scope="module")
def photos():
    return torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def cells(pixels, stride):
    return -(-pixels // stride)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_carries_the_three_networks(name, photos):
    options = FAMILIES[name]
    backbone = Backbone(name, output_stride=16, levels=(-4, -3, -2, -1), options=options).eval()
    grid = tuple(cells(side, 16) for side in SIZE)
    with torch.inference_mode():
        maps = backbone(photos)
        assert [each.shape[1] for each in maps] == backbone.channels
        assert maps[-1].shape[-2:] == grid
        classifier = CAMNet(backbone, 3).eval()
        assert classifier.cam(photos).shape == (2, 3, *grid)
        torch.testing.assert_close(
            prepare_for_inference(classifier)(photos), classifier(photos), atol=1e-3, rtol=0
        )
        affinity = AffinityNet(backbone, channels=(4, 4, 4, 4))
        assert affinity(photos).shape == (2, 16, *maps[0].shape[-2:])
        assert SegmentationNet(backbone, 3)(photos).shape == (2, 4, *grid)


def test_a_plain_transformer_has_maps_of_four_depths_at_any_stride(photos):
    options = PLAIN | {"depth": 8}
    coarse, fine = (
        Backbone("vit_tiny_patch16_224", output_stride=stride, options=options).eval()
        for stride in (16, 8)
    )
    fine.load_state_dict(coarse.state_dict())
    assert coarse.tokens.blocks == [1, 3, 5, 7]
    with torch.inference_mode():
        for backbone, stride in ((coarse, 16), (fine, 8)):
            grid = tuple(cells(side, stride) for side in SIZE)
            assert {each.shape[-2:] for each in backbone(photos)} == {grid}


def test_the_stages_of_swin_keep_their_fine_maps(photos):
    backbone = Backbone("swin_tiny_patch4_window7_224", output_stride=16, options=STAGES).eval()
    with torch.inference_mode():
        heights = [each.shape[-2] for each in backbone(photos)]
    assert heights == [12, 6, 5, 5]  # strides 8 and 16 of 96 pixels; 32, upsampled


def test_levels_are_the_maps_without_the_final_one(photos):
    backbone = Backbone("vit_tiny_patch16_224", levels=(0, 2), options=PLAIN).eval()
    with torch.inference_mode():
        *maps, _ = backbone(photos)
        for level, expected in zip(backbone.levels(photos), maps, strict=True):
            torch.testing.assert_close(level, expected)


def test_a_network_for_photos_of_one_size_is_refused():
    with pytest.raises(ValueError, match="hiera_tiny_224 takes neither output strides nor photos"):
        Backbone("hiera_tiny_224")


def test_mean_and_deviation_are_timm_s_own_and_kept():
    config = {
        "kind": "cam",
        "classes": {"cat": 1},
        "backbone": {
            "name": "vit_base_patch16_clip_224",
            "options": PLAIN,
            "mean": None,
            "std": [0.1, 0.2, 0.3],
        },
    }
    kept = initialise(config, seed=0).config["backbone"]
    assert kept["mean"] == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    assert kept["std"] == [0.1, 0.2, 0.3]
