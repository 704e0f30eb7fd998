"""On a CUDA device everything computes what it does on the CPU, and the same each time."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from affinitynet.core import affinity
from affinitynet.core.affinity import pair_affinities
from affinitynet.core.random_walk import propagate
from affinitynet.errors import UserError
from affinitynet.execution import Execution, launch, map_images
from affinitynet.execution.devices import pick_device
from affinitynet.execution.group import run_rank
from affinitynet.networks.checkpoint import initialise, restore
from affinitynet.networks.cuda import largest_batch, memory_errors
from affinitynet.networks.inference import multi_scale, scorers
from affinitynet.networks.parameters import InferenceParameters
from affinitynet.stages.predictor import Predictor
from affinitynet.training.loop import train
from affinitynet.training.losses import affinity_loss, classification_loss, segmentation_loss
from tests.unit.core.test_random_walk import dense_walk, scene
from tests.unit.training.test_loop import CONFIG, PARAMETERS, Colours

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = Execution(device="cuda", workers=1)


def on_cuda(function, *tensors, **options):
    return function(*(tensor.cuda() for tensor in tensors), **options).cpu()


@pytest.mark.parametrize("steps", [0, 7, 256])
def test_random_walk(steps):
    maps, features = scene(7, 9)
    walked = on_cuda(propagate, maps, features, steps=steps)
    assert float((walked - dense_walk(maps, features, 5, 8.0, steps)).abs().max()) < 1e-5


def test_random_walk_of_a_batch():
    scenes = [scene(47, 63, seed, channels=64) for seed in range(3)]
    maps, features = (torch.stack(each) for each in zip(*scenes, strict=True))
    walked = on_cuda(propagate, maps, features)
    for own, one in zip(walked, scenes, strict=True):
        torch.testing.assert_close(own, propagate(*one), rtol=0, atol=1e-5)


def test_affinities_loss_and_gradient():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 16, 12, 14, generator=generator)
    labels = torch.randint(0, 4, (2, 12, 14), generator=generator)
    labels[labels == 3] = 255
    torch.testing.assert_close(on_cuda(pair_affinities, features), pair_affinities(features))
    gradients = []
    for device in ("cpu", "cuda"):
        leaf = features.detach().clone().to(device).requires_grad_()
        affinity.affinity_loss(leaf, labels.to(device)).backward()
        gradients.append(leaf.grad.cpu())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_multi_scale_inference():
    checkpoint = initialise(CONFIG, seed=0)
    images = torch.randint(
        0, 256, (3, 3, 48, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    found = []
    for device in ("cpu", "cuda"):
        scores_at = scorers(
            checkpoint, lambda net, x: net.cam(x), [(1.0, 8), (1.5, 16)], device=device
        )
        found.append(multi_scale(scores_at, images.to(device)).cpu())
    scale = float(found[0].max())
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=5e-3 * scale)  # TF32


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "test_resnet"])
def test_photos_of_several_shapes(name):
    """In one batch where the network allows it, else one after the other."""
    generator = np.random.default_rng(0)
    sizes = {"a": (75, 91), "b": (64, 64), "c": (91, 75), "d": (66, 90), "e": (70, 80)}
    photos = {
        i: partial(Image.fromarray, generator.integers(0, 256, (*size, 3), np.uint8))
        for i, size in sizes.items()
    }
    model = initialise(CONFIG | {"backbone": {"name": name, "weights": None}}, seed=0)
    options = InferenceParameters(
        long_side=None,
        scales=((1.0, 16), (0.5, 16)),
        flip=True,
        cell=8,
        batch_size=4,
        bfloat16=False,
    )

    def scores(device):
        where = pick_device(Execution(device=device))
        predictor = Predictor(model, lambda net, x: net.cam(x), options, where)
        return {
            image_id: own
            for batch, scores in predictor(predictor.read(sizes, photos))
            for image_id, own in zip(batch.ids, scores, strict=True)
        }

    cpu, cuda, again = (scores(device) for device in ("cpu", "cuda", "cuda"))
    for image_id, own in cpu.items():
        tolerance = 5e-3 * float(own.max())  # TF32
        torch.testing.assert_close(cuda[image_id], own, rtol=0, atol=tolerance)
        assert torch.equal(cuda[image_id], again[image_id])


def test_the_largest_batch_fits_and_a_larger_one_is_reported():
    device = torch.device("cuda")
    free, _ = torch.cuda.mem_get_info()

    def run(photos):
        torch.empty(photos * (free // 20), dtype=torch.uint8, device=device)

    batch = largest_batch(run, device, at_most=64)
    assert batch in (8, 16)
    run(batch)
    full = pytest.raises(UserError, match=r"lower training\.batch_size")
    with full, memory_errors("training.batch_size"):
        run(40)


class Halves(Dataset):
    """Photos whose left half is red and labelled 1, the right one blue and 2."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        photo, labels = torch.rand(3, 32, 32) * 0.5, torch.ones(32, 32, dtype=torch.long)
        photo[0, :, :16] += 0.5
        photo[2, :, 16:] += 0.5
        labels[:, 16:] = 2
        return photo, labels


@pytest.mark.parametrize(
    ("kind", "samples", "loss"),
    [("cam", Colours(), classification_loss), ("segmentation", Halves(), segmentation_loss)],
)
def test_training_learns_and_is_the_same_each_time(kind, samples, loss):
    head = {"head": {"channels": 16}} if kind == "segmentation" else {}
    initial = initialise(CONFIG | {"kind": kind} | head, seed=0)
    device = pick_device(CUDA)
    one, other = (
        [*train(initial, samples, loss, PARAMETERS, seed=7, device=device)][-1] for _ in range(2)
    )
    losses = [epoch["loss"] for epoch in one.progress["history"]]
    assert losses[-1] < losses[0]
    assert one.progress["history"] == other.progress["history"]
    assert all(torch.equal(value, other.weights[key]) for key, value in one.weights.items())
    (again,) = list(
        train(
            [*train(initial, samples, loss, PARAMETERS, seed=7, device=device)][-2],
            samples,
            loss,
            PARAMETERS,
            seed=7,
            device=device,
        )
    )
    assert all(torch.equal(value, again.weights[key]) for key, value in one.weights.items())
    assert all(not value.is_cuda for value in one.weights.values())
    restore(one, device="cpu")


@pytest.mark.parametrize(
    ("kind", "samples", "loss"),
    [
        ("cam", Colours(), classification_loss),
        ("affinity", Halves(), partial(affinity_loss, radius=3)),
        ("segmentation", Halves(), segmentation_loss),
    ],
)
def test_no_step_waits_for_the_device(kind, samples, loss):
    head = {"segmentation": {"channels": 16}, "affinity": {"channels": [8, 8, 8]}}.get(kind, {})
    initial = initialise(CONFIG | {"kind": kind, "head": head}, seed=0)

    def watch(steps, _):
        for batch in steps:
            torch.cuda.set_sync_debug_mode("error")
            yield batch
            torch.cuda.set_sync_debug_mode("default")

    try:
        [*train(initial, samples, loss, PARAMETERS, seed=0, device="cuda", progress=watch)]
    finally:
        torch.cuda.set_sync_debug_mode("default")


def sum_of_ranks():
    total = torch.ones(1, device="cuda")
    torch.distributed.all_reduce(total)
    yield torch.distributed.get_backend(), float(total)


def test_processes_of_a_group_speak_nccl(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    assert [*run_rank(sum_of_ranks, store, 0, 0, CUDA)] == [("nccl", 1.0)]


def test_more_processes_than_devices_are_refused():
    many = Execution(device="cuda", devices=torch.cuda.device_count() + 1)
    with pytest.raises(UserError, match="torch sees"):
        next(iter(launch(partial(iter, [0]), 0, execution=many)))
    with pytest.raises(UserError, match="torch sees"):
        next(iter(map_images(abs, [("a", 1)], total=1, execution=many, networks=True)))


def test_whole_run_is_the_same_each_time(project, empty_project, tmp_path):
    cuda = {"execution.device": "cuda"}
    project.run(parameters=cuda)
    other = empty_project.copy(tmp_path / "other")
    other.run(parameters=cuda)
    assert project.metrics() == other.metrics()
    assert project.metrics()["segmentation"]["miou"] > 0
