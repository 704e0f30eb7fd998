"""conf/voc: the published recipe builds the paper's networks, and they train at its crop."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.utils.data import TensorDataset

from affinitynet.networks.checkpoint import initialise
from affinitynet.training.loop import train
from affinitynet.training.losses import affinity_loss, classification_loss, segmentation_loss
from affinitynet.training.parameters import Augmentation, TrainingParameters


@pytest.fixture(scope="module")
def parameters(empty_project):
    return empty_project.session(env="voc").load_context().raw_parameters


def test_the_recipe_is_the_published_one(parameters):
    cam, affinity = parameters["cam"], parameters["affinity_training"]

    assert (cam["training"]["epochs"], cam["training"]["batch_size"]) == (15, 16)
    assert (affinity["training"]["epochs"], affinity["training"]["batch_size"]) == (8, 8)
    for stage in (cam, affinity, parameters["segmentation"]):
        training = TrainingParameters(**stage["training"])
        assert (training.learning_rate, training.head_learning_rate) == (0.01, 0.1)
        assert (training.bias_rate, training.weight_decay, training.power) == (2, 5e-4, 0.9)
        augmentation = Augmentation(**stage["augmentation"])
        assert (augmentation.crop, augmentation.jitter, augmentation.hue) == (448, 0.3, 0.1)
    assert tuple(cam["augmentation"]["long_side"]) == (256, 512)
    assert affinity["augmentation"]["long_side"] is None
    assert {scale for scale, _ in cam["inference"]["scales"]} == {0.5, 1, 1.5, 2}
    assert parameters["affinity_labels"]["alphas"] == {"low": 4, "high": 32}
    walk = parameters["revision"]["random_walk"]
    assert (walk["alpha"], walk["beta"], walk["steps"], walk["radius"]) == (16, 8, 256, 5)
    assert len(parameters["data_set"]["classes"]) == 20


def test_one_parameter_takes_the_network_whose_weights_pip_installs(empty_project):
    session = empty_project.session(env="voc", parameters={"backbone": "tf_efficientnet_lite0"})
    parameters = session.load_context().raw_parameters
    classes = dict.fromkeys(parameters["data_set"]["classes"], 0)
    for kind in ("cam", "affinity", "segmentation"):
        stage = parameters[{"affinity": "affinity_training"}.get(kind, kind)]
        network = initialise({"kind": kind, "classes": classes, **stage["network"]}, seed=0)
        for name in stage["training"]["frozen"]:
            assert any(key.startswith(f"{name}.") for key in network.weights)
        assert network.config["backbone"]["mean"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("env", [None, "tagged", "voc_cpu", "voc", "coco"])
def test_backbone_and_weights_are_one_parameter_each_for_all_stages(empty_project, env):
    given = {"backbone": "resnet18", "weights": "/weights.pth"}
    session = empty_project.session(env=env, parameters=given)
    parameters = session.load_context().raw_parameters
    stages = ("cam", "affinity_training", "segmentation")
    backbones = [parameters[stage]["network"]["backbone"] for stage in stages]
    assert [each["name"] for each in backbones] == ["resnet18"] * 3
    assert [each["mean"] for each in backbones] == [None] * 3  # timm's own
    assert backbones[0]["weights"] == "/weights.pth"
    assert parameters["segmentation"]["training"]["frozen"] == []


HALVES = torch.arange(2).repeat(1, 112, 56)


@pytest.mark.parametrize(
    ("kind", "loss", "labels"),
    [
        ("cam", classification_loss, torch.eye(20)[:1]),
        ("affinity", partial(affinity_loss, radius=5), HALVES),
        ("segmentation", segmentation_loss, HALVES),
    ],
)
def test_a_step_of_the_recipe(parameters, kind, loss, labels):
    stage = parameters[{"affinity": "affinity_training"}.get(kind, kind)]
    classes = {name: i for i, name in enumerate(parameters["data_set"]["classes"], start=1)}
    network = stage["network"]
    network = network | {"backbone": network["backbone"] | {"weights": None}}
    initial = initialise({"kind": kind, "classes": classes, **network}, seed=0)
    samples = TensorDataset(torch.rand(1, 3, 112, 112), labels)
    once = replace(TrainingParameters(**stage["training"]), epochs=1, batch_size=1, workers=0)

    (trained,) = train(initial, samples, loss, once, seed=0, device="cpu")

    assert trained.progress["history"][0]["loss"] > 0
    moved = {
        key
        for key in initial.weights
        if not torch.equal(initial.weights[key], trained.weights[key])
    }
    assert "backbone.trunk.b7.conv_branch1.weight" in moved
    assert not [key for key in moved if "bn" in key or "conv1a" in key or "trunk.b2" in key]
