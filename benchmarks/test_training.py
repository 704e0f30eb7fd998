"""Training: the affinity loss against gathered pairs, and a whole step as `auto` decides."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import TensorDataset

from affinitynet.core.affinity import affinity_loss, neighbourhood
from affinitynet.networks.checkpoint import Checkpoint, initialise, restore
from affinitynet.networks.cpu import depthwise
from affinitynet.training.loop import train
from affinitynet.training.losses import classification_loss
from affinitynet.training.parameters import TrainingParameters

PHOTOS, CHANNELS, SIDE = 8, 448, 28  # crops of 224 pixels at stride 8
FIRST = tuple(f"backbone.trunk.{part}" for part in ("conv_stem", "bn1", "blocks.0", "blocks.1"))


def sample() -> tuple[Tensor, Tensor]:
    """Features and label maps; pixels are background, one of two classes, or neutral."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(PHOTOS, CHANNELS, SIDE, SIDE, generator=generator)
    labels = torch.tensor([0, 1, 2, 255])[
        torch.randint(4, (PHOTOS, SIDE // 7, SIDE // 7), generator=generator)
    ]
    return features, labels.repeat_interleave(7, 1).repeat_interleave(7, 2)


def gathered_loss(features: Tensor, labels: Tensor) -> Tensor:
    """The loss by its formula; features are gathered by pair: copies of (N, C, P h w)."""
    height, width = labels.shape[-2:]
    cells = torch.arange(height * width).view(height, width)
    first, second = [], []
    for dy, dx in neighbourhood(5):
        rows, left, right = height - dy, max(-dx, 0), width - max(dx, 0)
        first.append(cells[:rows, left:right].flatten())
        second.append(cells[dy:, left + dx : right + dx].flatten())
    one, other = torch.cat(first), torch.cat(second)
    flat = features.flatten(2)
    affinities = torch.exp(-(flat[..., one] - flat[..., other]).abs().mean(dim=1))
    a, b = labels.flatten(1)[:, one], labels.flatten(1)[:, other]
    known = (a != 255) & (b != 255)
    same, different = known & (a == b), known & (a != b)
    attraction, repulsion = -torch.log(affinities + 1e-12), -torch.log(1 - affinities + 1e-5)
    return (
        attraction[same & (a > 0)].mean()
        + attraction[same & (a == 0)].mean()
        + 2 * repulsion[different].mean()
    ) / 4


def gradient(loss: Any, features: Tensor, labels: Tensor) -> Tensor:
    features = features.detach().requires_grad_()
    loss(features, labels).backward()
    assert features.grad is not None
    return features.grad * labels.numel()


def gradient_of_sample(loss: Any) -> None:
    gradient(loss, *sample())


def test_affinity_loss(compare: Any, peak_memory: Any) -> None:
    features, labels = sample()
    torch.testing.assert_close(
        affinity_loss(features, labels), gathered_loss(features, labels), rtol=1e-4, atol=1e-5
    )
    compare(
        f"affinity loss and its gradient, {PHOTOS} x {CHANNELS} x {SIDE} x {SIDE}",
        lambda: gradient(affinity_loss, features, labels),
        lambda: gradient(gathered_loss, features, labels),
        tolerance=1e-3,
        calls=2,
        images=PHOTOS,
        memory=peak_memory(gradient_of_sample, affinity_loss),
        baseline_memory=peak_memory(gradient_of_sample, gathered_loss),
    )


@pytest.mark.parametrize(("kernel", "dilation"), [(5, 1), (5, 2)])
def test_depthwise_gradients(compare: Any, kernel: int, dilation: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shape, channels = (16, 1152, 14, 14), 1152
    images = torch.rand(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(channels, 1, kernel, kernel, generator=generator)
    images, weight = images.bfloat16().requires_grad_(), weight.requires_grad_()
    padding = dilation * (kernel // 2)

    def plain() -> Tensor:
        maps = functional.conv2d(
            images.float(), weight, padding=padding, dilation=dilation, groups=channels
        )
        return torch.autograd.grad(maps.sum(), [images, weight])[1]

    def ours() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            maps = depthwise(images, weight, dilation=dilation)
        return torch.autograd.grad(maps.sum(), [images, weight])[1]

    compare(
        f"depthwise {kernel} x {kernel}, dilation {dilation}, and gradients, 16 x 1152 x 14 x 14",
        ours,
        plain,
        tolerance=1e-2 * float(plain().abs().max()),
        calls=5,
    )


def plain_training(initial: Checkpoint, samples: TensorDataset, rate: float, fixed: bool) -> float:
    """One pass in float32, in torch's own memory layout; returns the mean loss."""
    network: Any = restore(initial).train()
    if fixed:
        network.backbone.eval()
        for part in FIRST:
            network.get_submodule(part).requires_grad_(False)
    optimiser = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    losses = []
    for batch in torch.utils.data.DataLoader(samples, batch_size=PHOTOS):
        loss = classification_loss(network, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("fixed", [False, True])
def test_training_step(compare: Any, fixed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    samples = TensorDataset(
        torch.rand(2 * PHOTOS, 3, 224, 224, generator=generator),
        torch.randint(2, (2 * PHOTOS, 6), generator=generator).float(),
    )
    config = {
        "kind": "cam",
        "classes": dict.fromkeys("abcdef", 0),
        "backbone": {"name": "tf_efficientnet_lite0", "output_stride": 16},
        "head": {"dropout": 0.0},
    }
    initial = initialise(config, seed=0)
    parameters = TrainingParameters(
        epochs=1,
        batch_size=PHOTOS,
        learning_rate=1e-3,
        head_learning_rate=1e-3,
        fixed_norms=fixed,
        frozen=FIRST if fixed else (),
        precision="auto",
    )

    def ours() -> float:
        (checkpoint,) = train(
            initial, samples, classification_loss, parameters, seed=0, device="cpu"
        )
        loss: float = checkpoint.progress["history"][0]["loss"]
        return loss

    compare(
        f"two training steps of the classifier, {PHOTOS} x 224 x 224"
        + (", norms and first parts kept (voc_cpu)" if fixed else ""),
        ours,
        lambda: plain_training(initial, samples, 1e-3, fixed),
        tolerance=0.02,
        turns=2,
        calls=1,
        images=2 * PHOTOS,
    )
