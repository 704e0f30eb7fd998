"""Checkpoints: what is built, where weights come from, and the way through a file."""

import pytest
import torch

from affinitynet.networks.checkpoint import Checkpoint, build, initialise, restore

BACKBONE = {
    "name": "resnet10t",
    "weights": None,
    "output_stride": 16,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}
CLASSES = {"cat": 8, "dog": 12}
CONFIGS = {
    "cam": {"kind": "cam", "backbone": BACKBONE, "classes": CLASSES, "head": {"dropout": 0.3}},
    "affinity": {
        "kind": "affinity",
        "backbone": BACKBONE,
        "classes": CLASSES,
        "head": {"channels": [4, 4, 8]},
    },
    "segmentation": {
        "kind": "segmentation",
        "backbone": BACKBONE,
        "classes": CLASSES,
        "head": {"channels": 8},
    },
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_checkpoint_survives_a_file(kind, tmp_path):
    checkpoint = initialise(CONFIGS[kind], seed=1)
    photos = torch.rand(1, 3, 32, 32)
    torch.save(checkpoint.state_dict(), tmp_path / "model.pt")

    loaded = Checkpoint(**torch.load(tmp_path / "model.pt", weights_only=True))

    assert loaded.config == CONFIGS[kind]
    torch.testing.assert_close(restore(loaded)(photos), restore(checkpoint)(photos))


def test_a_restored_network_evaluates_at_any_stride():
    checkpoint = initialise(CONFIGS["cam"], seed=1)

    network = restore(checkpoint, output_stride=8)

    assert not network.training
    assert network.cam(torch.rand(1, 3, 32, 32)).shape[-2:] == (4, 4)


def test_the_seed_decides_the_random_weights():
    first, again, other = (initialise(CONFIGS["cam"], seed=seed).weights for seed in (1, 1, 2))

    assert torch.equal(first["classifier.weight"], again["classifier.weight"])
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_initialising_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)

    initialise(CONFIGS["cam"], seed=1)

    assert torch.equal(torch.rand(1), expected)


def test_a_backbone_can_come_from_another_network():
    cam = initialise(CONFIGS["cam"], seed=1)

    segmentation = initialise(CONFIGS["segmentation"], seed=2, backbone_from=cam)

    shared = [key for key in cam.weights if key.startswith("backbone.")]
    assert shared
    for key in shared:
        assert torch.equal(segmentation.weights[key], cam.weights[key])


def test_backbones_must_agree():
    cam = initialise(CONFIGS["cam"], seed=1)
    other = {**CONFIGS["segmentation"], "backbone": {**BACKBONE, "name": "test_resnet"}}

    with pytest.raises(ValueError, match="has resnet10t, the configuration test_resnet"):
        initialise(other, seed=1, backbone_from=cam)


def test_a_named_file_gives_the_backbones_weights(tmp_path):
    trunk = restore(initialise(CONFIGS["cam"], seed=5)).backbone.trunk
    torch.save(trunk.state_dict(), tmp_path / "trunk.pth")
    config = {**CONFIGS["cam"], "backbone": {**BACKBONE, "weights": str(tmp_path / "trunk.pth")}}

    checkpoint = initialise(config, seed=1)

    for key, value in trunk.state_dict().items():
        assert torch.equal(checkpoint.weights[f"backbone.trunk.{key}"], value)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="unknown kind 'depth'"):
        build({**CONFIGS["cam"], "kind": "depth"})
