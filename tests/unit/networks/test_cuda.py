"""What makes a CUDA device faster computes the same; what it saves is counted on the CPU."""

from functools import partial

import pytest
import torch
from torch.nn import functional

from affinitynet.networks import cuda
from affinitynet.networks.checkpoint import initialise, restore
from affinitynet.networks.cuda import Canvas, canvas_for, fetch, largest_batch, optimize_for_cuda
from affinitynet.networks.folding import fold_norms
from affinitynet.networks.inference import (
    canvases,
    multi_scale,
    multi_scale_on_canvas,
    scorers,
)

SIDE = 64
SIZES = [(37, 45), (64, 48), (17, 64), (32, 33)]


def cam_net(name, **backbone):
    config = {
        "kind": "cam",
        "classes": dict.fromkeys("abc", 0),
        "backbone": {"name": name, "weights": None, **backbone},
    }
    return initialise(config, seed=0)


def cam(network, images):
    return network.cam(images)


def photos():
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=generator)
        for size in SIZES
    ]


def on_one_sheet(images):
    sides = [(0, SIDE - image.shape[-1], 0, SIDE - image.shape[-2]) for image in images]
    return torch.cat([functional.pad(*pair) for pair in zip(images, sides, strict=True)])


@pytest.mark.parametrize(
    ("name", "stride"),
    [("tf_efficientnet_lite0", 16), ("tf_efficientnet_lite0", 8), ("resnet18", 8)],
)
def test_photos_on_a_canvas_score_as_they_do_alone(name, stride):
    scores_at = scorers(cam_net(name), cam, [(scale, stride) for scale in (0.5, 1.0, 1.5)])
    alone = [multi_scale(scores_at, photo)[0] for photo in photos()]

    found = multi_scale_on_canvas(canvases(scores_at), on_one_sheet(photos()), SIZES)

    for expected, scores in zip(alone, found, strict=True):
        rows, columns = expected.shape[-2:]
        tolerance = 1e-4 * float(expected.max())
        torch.testing.assert_close(scores[:, :rows, :columns], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "name",
    ["resnet10t", "test_efficientnet"],  # pools the cells at the border alone; squeezes and excites
)
def test_networks_that_see_beyond_a_photo_do_not_fit_on_a_canvas(name):
    network = restore(cam_net(name))
    assert not Canvas(network, partial(cam, network)).is_exact()


def test_a_network_computes_what_it_did_after_its_canvas_was_tried():
    network = restore(cam_net("tf_efficientnet_lite0"))
    photo = photos()[0] / 255
    with torch.inference_mode():
        expected = network.cam(photo)
        Canvas(network, partial(cam, network)).is_exact()
        torch.testing.assert_close(network.cam(photo), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18"])
@pytest.mark.parametrize("mixed", [False, True])
def test_convolutions_without_plans_compute_the_same(name, mixed):
    network = fold_norms(restore(cam_net(name)))
    photo = photos()[0] / 255
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        expected = network.backbone(photo)[-1].float()
        optimize_for_cuda(network)
        found = network.backbone(photo)[-1].float()
    tolerance = (3e-2 if mixed else 1e-5) * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def plans(monkeypatch, run):
    """Convolutions that cuDNN would plan: each key of shapes and arguments once."""
    seen = set()
    conv2d = functional.conv2d

    def count(images, weight, bias=None, *arguments):
        if torch.backends.cudnn.enabled:
            seen.add((images.shape, weight.shape, *map(str, arguments)))
        return conv2d(images, weight, bias, *arguments)

    monkeypatch.setattr(functional, "conv2d", count)
    run()
    return len(seen)


def test_plans_do_not_grow_with_the_shapes_of_photos(monkeypatch):
    network = fold_norms(restore(cam_net("tf_efficientnet_lite0")))
    images = photos()
    scales = (1.0, 1.5)

    def one_by_one():
        with torch.inference_mode():
            for image in images:
                for scale in scales:
                    network.backbone(functional.interpolate(image / 255, scale_factor=scale))

    with monkeypatch.context() as patch:
        before = plans(patch, one_by_one)
    optimize_for_cuda(network)
    canvas = Canvas(network, lambda x: network.backbone(x)[-1])

    def together():
        for scale in scales:
            canvas.run(on_one_sheet(images), SIZES, scale=scale, flip=True)

    with monkeypatch.context() as patch:
        after = plans(patch, together)
    assert before > 100 * len(scales)
    assert after == len(scales)  # the stem's


@pytest.mark.parametrize(
    ("size", "canvas"),
    [((333, 500), (384, 512)), ((256, 171), (256, 192)), ((64, 64), (64, 64)), ((3, 4), (32, 32))],
)
def test_few_canvases_hold_many_shapes(size, canvas):
    assert canvas_for(size) == canvas


def test_deterministic_algorithms_are_back_after_inference():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with cuda.without_determinism():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("free", "batch"), [(7, 4), (100, 16), (0, 1)])
def test_the_largest_batch_is_found_from_the_memory_of_the_card(monkeypatch, free, batch):
    one, runs = 10**9, []
    peak = iter([one + 5])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: next(peak))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * one, 80 * one))

    assert largest_batch(runs.append, torch.device("cuda"), at_most=16) == batch
    assert runs == [1]


def test_results_are_fetched_while_the_next_one_is_computed():
    made = []

    def compute():
        for number in range(3):
            made.append(number)
            yield number, torch.full((2,), float(number))

    for number, tensor in fetch(compute()):
        assert tensor.tolist() == [number, number]
        assert made[-1] == min(number + 1, 2)
