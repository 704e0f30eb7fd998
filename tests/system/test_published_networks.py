"""ResNet-38 and the authors' checkpoints, against the networks written out layer by layer.

Whole networks of 105 million parameters, which take too long for `tests/unit`.
"""

import copy

import pytest
import torch
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, elu, relu

from affinitynet.networks import psa
from affinitynet.networks.backbones import Backbone
from affinitynet.networks.checkpoint import Checkpoint, initialise, restore
from affinitynet.networks.cuda import Canvas

REPEATS = {2: 2, 3: 2, 4: 5, 5: 2}
"""Level -> blocks after its first."""


def shapes():
    """Name -> shape of all convolutions, as in the release's checkpoints."""
    convolutions = {"conv1a": (64, 3, 3, 3)}
    for level, (wide, middle, channels) in {
        2: (64, 128, 128),
        3: (128, 256, 256),
        4: (256, 512, 512),
        5: (512, 512, 1024),
    }.items():
        convolutions[f"b{level}.conv_branch2a"] = (middle, wide, 3, 3)
        convolutions[f"b{level}.conv_branch2b1"] = (channels, middle, 3, 3)
        convolutions[f"b{level}.conv_branch1"] = (channels, wide, 1, 1)
        for i in range(1, REPEATS[level] + 1):
            convolutions[f"b{level}_{i}.conv_branch2a"] = (middle, channels, 3, 3)
            convolutions[f"b{level}_{i}.conv_branch2b1"] = (channels, middle, 3, 3)
    for level, wide, channels in ((6, 1024, 2048), (7, 2048, 4096)):
        convolutions[f"b{level}.conv_branch2a"] = (channels // 4, wide, 1, 1)
        convolutions[f"b{level}.conv_branch2b1"] = (channels // 2, channels // 4, 3, 3)
        convolutions[f"b{level}.conv_branch2b2"] = (channels, channels // 2, 1, 1)
        convolutions[f"b{level}.conv_branch1"] = (channels, wide, 1, 1)
    return convolutions


HEADS = {
    "cam": {"fc8": (20, 4096, 1, 1)},
    "affinity": {
        "f8_3": (64, 512, 1, 1),
        "f8_4": (128, 1024, 1, 1),
        "f8_5": (256, 4096, 1, 1),
        "f9": (448, 448, 1, 1),
    },
}


def make_state(kind):
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in (shapes() | HEADS[kind]).items():
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * fan_in**-0.5
        if "conv_branch2" in name:  # each such convolution follows the norm of its input
            state |= norm(name.replace("conv_", "bn_"), shape[1], generator)
    return state | norm("bn7", 4096, generator)


def norm(name, channels, generator):
    return {
        f"{name}.weight": 0.5 + torch.rand(channels, generator=generator),
        f"{name}.bias": 0.1 * torch.randn(channels, generator=generator),
        f"{name}.running_mean": 0.1 * torch.randn(channels, generator=generator),
        f"{name}.running_var": 0.5 + torch.rand(channels, generator=generator),
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def activate(state, name, x):
    entries = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
    return relu(batch_norm(x, *entries, training=False))


def convolve(state, name, x, stride=1, dilation=1):
    weight = state[f"{name}.weight"]
    padding = dilation * (weight.shape[-1] // 2)
    return conv2d(x, weight, stride=stride, padding=padding, dilation=dilation)


def block(state, name, x, stride=1, first=1, second=1):
    activated = activate(state, f"{name}.bn_branch2a", x)
    y = convolve(state, f"{name}.conv_branch2a", activated, stride, first)
    y = convolve(
        state, f"{name}.conv_branch2b1", activate(state, f"{name}.bn_branch2b1", y), 1, second
    )
    if f"{name}.conv_branch2b2.weight" in state:
        activated_again = activate(state, f"{name}.bn_branch2b2", y)
        y = convolve(state, f"{name}.conv_branch2b2", activated_again)
    if f"{name}.conv_branch1.weight" in state:
        x = convolve(state, f"{name}.conv_branch1", activated, stride)
    return x + y, activated


def levels(state, images):
    """The activated inputs of levels 5 and 6, and the output: 512, 1024 and 4096 channels."""
    x = convolve(state, "conv1a", images)
    for level in (2, 3, 4):
        x, _ = block(state, f"b{level}", x, stride=2)
        for i in range(1, REPEATS[level] + 1):
            x, _ = block(state, f"b{level}_{i}", x)
    x, five = block(state, "b5", x, first=1, second=2)
    for i in range(1, REPEATS[5] + 1):
        x, _ = block(state, f"b5_{i}", x, first=2, second=2)
    x, six = block(state, "b6", x, second=4)
    x, _ = block(state, "b7", x, second=4)
    return five, six, activate(state, "bn7", x)


@pytest.fixture(scope="module")
def images():
    return torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def cam_state():
    return make_state("cam")


@pytest.fixture(scope="module")
def affinity_state():
    return make_state("affinity")


@pytest.fixture(scope="module")
def classifier(cam_state):
    """105 million parameters, which take long to make; not to be changed."""
    return psa.cam_net(cam_state)


@pytest.fixture(scope="module")
def affinity_net(affinity_state):
    return psa.affinity_net(affinity_state)


@torch.no_grad()
def test_the_classifier_computes_what_the_release_does(classifier, cam_state, images):
    final = levels(cam_state, images)[-1]

    logits = conv2d(avg_pool2d(final, final.shape[-2:]), cam_state["fc8.weight"]).flatten(1)
    torch.testing.assert_close(classifier(images), logits, rtol=1e-4, atol=1e-5)
    cams = relu(conv2d(final, cam_state["fc8.weight"]))
    assert cams.shape == (1, 20, 5, 7)
    torch.testing.assert_close(classifier.cam(images), cams, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_affinitynet_computes_what_the_release_does(affinity_net, affinity_state, images):
    five, six, final = levels(affinity_state, images)
    compressed = [
        elu(conv2d(level, affinity_state[f"{head}.weight"]))
        for level, head in ((five, "f8_3"), (six, "f8_4"), (final, "f8_5"))
    ]
    features = elu(conv2d(torch.cat(compressed, dim=1), affinity_state["f9.weight"]))
    assert features.shape == (1, 448, 5, 7)
    torch.testing.assert_close(affinity_net(images), features, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(affinity_net.backbone.levels(images), (five, six, final), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_networks_have_the_releases_entries_and_parameters(
    classifier, affinity_net, cam_state, affinity_state
):
    for state, network, entries, parameters in (
        (cam_state, classifier, 229, 105.15),
        (affinity_state, affinity_net, 232, 106.48),
    ):
        assert len(state) == len(network.state_dict()) == entries
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(
            parameters, abs=0.005
        )


@torch.no_grad()
def test_normalising_inside_gives_the_same(classifier, cam_state, images):
    photos = images.sigmoid()
    mean, std = torch.tensor(psa.IMAGENET_MEAN), torch.tensor(psa.IMAGENET_STD)
    normalised = (photos - mean.view(3, 1, 1)) / std.view(3, 1, 1)

    inside = psa.cam_net(cam_state, mean=psa.IMAGENET_MEAN, std=psa.IMAGENET_STD)

    torch.testing.assert_close(inside(photos), classifier(normalised))


def test_norms_stay_as_they_are_in_training(classifier, images):
    network = copy.deepcopy(classifier).train()
    before = network.backbone.trunk.bn7.running_mean.clone()

    network(images)

    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(m.training or m.weight.requires_grad or m.bias.requires_grad for m in norms)
    assert torch.equal(network.backbone.trunk.bn7.running_mean, before)
    assert network.dropout.training
    assert network.backbone.trunk.b7.dropout.training


def test_a_checkpoint_that_is_none_of_the_releases_is_refused(affinity_state):
    with pytest.raises(ValueError, match=r"no checkpoint of the release"):
        psa.cam_net(affinity_state)
    with pytest.raises(ValueError, match="no checkpoint of the release"):
        psa.affinity_net({"conv1a.weight": torch.zeros(1)})


def config(kind, path, **head):
    return {
        "kind": kind,
        "classes": {f"class{i}": i for i in range(1, 21)},
        "backbone": {
            "name": "resnet38",
            "output_stride": 8,
            "mean": list(psa.IMAGENET_MEAN),
            "std": list(psa.IMAGENET_STD),
        },
        "weights": str(path),
        "head": head,
    }


@torch.no_grad()
def test_a_stage_starts_from_a_published_file(affinity_state, images, tmp_path, caplog):
    torch.save(affinity_state, tmp_path / "res38_aff.pth")
    photos = images.sigmoid()
    expected = psa.affinity_net(affinity_state, mean=psa.IMAGENET_MEAN, std=psa.IMAGENET_STD)

    checkpoint = initialise(config("affinity", tmp_path / "res38_aff.pth"), seed=0)
    network = restore(Checkpoint(**checkpoint.state_dict()))

    assert torch.equal(network(photos), expected(photos))
    # the classifier takes the backbone alone, and says so
    checkpoint = initialise(config("cam", tmp_path / "res38_aff.pth"), seed=0)
    assert torch.equal(checkpoint.weights["backbone.trunk.bn7.bias"], affinity_state["bn7.bias"])
    assert "classifier.weight" in caplog.text


def test_files_without_batch_counts_are_read(cam_state):
    state = {name: cam_state[name] for name in cam_state if "num_batches" not in name}

    assert len(state) == 229 - 37
    psa.cam_net(state)


def test_weights_for_other_classes_are_refused(cam_state, tmp_path):
    few = {name: cam_state[name] for name in ("conv1a.weight", "fc8.weight")}
    torch.save(few, tmp_path / "res38_cls.pth")
    six = config("cam", tmp_path / "res38_cls.pth") | {"classes": {"cat": 8, "dog": 12}}

    with pytest.raises(ValueError, match=r"classifier.weight.*do classes, head and backbone agree"):
        initialise(six, seed=0)


def test_resnet38_has_stride_8_alone():
    with pytest.raises(ValueError, match="output stride 8, not 16"):
        Backbone("resnet38", output_stride=16)


@pytest.mark.parametrize("name", ["resnet38", "vgg16_deeplab"])
def test_the_paper_s_backbones_fit_on_a_canvas(name):
    backbone = {"name": name, "weights": None, "output_stride": 8}
    config = {"kind": "cam", "classes": {"a": 1, "b": 2}, "backbone": backbone}
    network = restore(initialise(config, seed=0))
    assert Canvas(network, network.cam).is_exact()
