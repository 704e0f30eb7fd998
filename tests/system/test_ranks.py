"""Two processes share each batch and train as one would."""

import os
import signal
import time
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import psutil
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset

from affinitynet.core import affinity
from affinitynet.errors import UserError
from affinitynet.execution import Execution, launch
from affinitynet.networks.checkpoint import initialise, restore
from affinitynet.networks.resnet38 import FrozenNorm
from affinitynet.pipelines.training import _train
from affinitynet.training.loop import train
from affinitynet.training.losses import affinity_loss, classification_loss, segmentation_loss
from affinitynet.training.parameters import TrainingParameters
from affinitynet.training.ranks import share_statistics
from tests.system.deaths import count_epochs

BACKBONE = {"name": "test_resnet", "weights": None, "output_stride": 16}
ACTIVATED = {**BACKBONE, "name": "test_efficientnet"}  # its norms end in activations
CLASSES = {"red": 1, "blue": 2}
HEADS = {
    "cam": {"dropout": 0.0},
    "affinity": {"channels": [4, 4, 8]},
    "segmentation": {"dropout": 0.0},
}
PARAMETERS = TrainingParameters(
    epochs=3, batch_size=5, learning_rate=0.01, head_learning_rate=0.05, workers=0
)


class Samples(Dataset):
    """Photos that are the same whenever they are read; some have hardly a label."""

    def __init__(self, tags):
        self.tags = tags

    def __len__(self):
        return 11

    def __getitem__(self, index):
        random = torch.Generator().manual_seed(index)
        photo = torch.rand(3, 48, 48, generator=random)
        if self.tags:
            return photo, torch.randint(0, 2, (2,), generator=random).float()
        labels = torch.randint(0, 3, (6, 6), generator=random)
        labels[torch.rand(6, 6, generator=random) < index / 11] = 255
        return photo, labels.repeat_interleave(8, 0).repeat_interleave(8, 1)


def untrained(kind):
    return initialise(
        {"kind": kind, "backbone": BACKBONE, "classes": CLASSES, "head": HEADS[kind]}, seed=0
    )


def run(kind, loss, start, workers=0):
    # On a CPU a norm that learns its statistics sees its process's share alone.
    norms = ("head.1",) if kind == "segmentation" else ()
    parameters = replace(PARAMETERS, frozen=norms, workers=workers)
    yield from train(start, Samples(kind == "cam"), loss, parameters, seed=3, device="cpu")


def two(loop, start):
    return [*launch(loop, start, execution=Execution(devices=2, device="cpu"))]


def trainings():
    """Name to the start, the loop, and how many processes prepare samples where two train."""
    cam, affinity, segmentation = (untrained(kind) for kind in HEADS)
    # AffinityNet takes an EfficientNet's levels, but not the convolution above them
    backbone = {**BACKBONE, "name": "test_efficientnet", "levels": [-3, -2, -1]}
    levels = initialise({**affinity.config, "backbone": backbone}, seed=0)
    classify = partial(run, "cam", classification_loss)
    pair = partial(run, "affinity", partial(affinity_loss, radius=3))
    return {
        "cam": (cam, classify, 0),
        "samples prepared by processes": (cam, classify, 1),
        "affinity": (affinity, pair, 0),
        "a part of the backbone left out": (levels, pair, 0),
        "segmentation": (segmentation, partial(run, "segmentation", segmentation_loss), 0),
    }


def train_all(trainings):
    for name, (start, loop, workers) in trainings.items():
        for checkpoint in loop(start, workers=workers):
            yield name, checkpoint


def test_two_processes_train_as_one():
    """Also where the batch is odd, and the labels are anything but evenly shared out."""
    alone = {name: [*loop(start)] for name, (start, loop, _) in trainings().items()}
    together = {name: [] for name in alone}
    for name, checkpoint in two(train_all, trainings()):
        together[name].append(checkpoint)

    for name, (*_, last) in alone.items():
        assert [checkpoint.progress["epoch"] for checkpoint in together[name]] == [1, 2, 3], name
        shared = together[name][-1]
        for one, other in zip(last.progress["history"], shared.progress["history"], strict=True):
            assert other == pytest.approx(one, rel=1e-4 if "backbone" in name else 1e-5), name
        if "backbone" not in name:
            for key, weight in last.weights.items():
                torch.testing.assert_close(shared.weights[key], weight, rtol=1e-4, atol=1e-5)


def test_norms_that_learn_share_statistics_and_all_others_stay_as_they_are():
    network = restore(initialise({**untrained("cam").config, "backbone": ACTIVATED}, seed=0))
    images = torch.rand(2, 3, 48, 48)
    expected = network(images)
    names = network.state_dict().keys()
    network.train()
    fixed = next(part for part in network.modules() if isinstance(part, _BatchNorm)).eval()
    kept = FrozenNorm(4)
    network.kept = kept.train()

    share_statistics(network)

    norms = [part for part in network.modules() if isinstance(part, _BatchNorm)]
    assert [type(norm) for norm in norms if not norm.training] == [type(fixed), FrozenNorm]
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms if norm.training)
    assert fixed in norms
    assert kept in norms
    del network.kept
    assert network.state_dict().keys() == names
    torch.testing.assert_close(network.eval()(images), expected)  # with their activations


def test_shares_of_the_affinity_loss_add_up_to_the_batch_s():
    random = torch.Generator().manual_seed(0)
    features = torch.rand(4, 8, 6, 6, generator=random, requires_grad=True)
    labels = torch.randint(0, 3, (4, 6, 6), generator=random)
    labels[:3, 1:] = 255  # most pairs are in the second share
    parts = [slice(0, 2), slice(2, 4)]

    def losses(**options):
        return [affinity.affinity_loss(features[p], labels[p], radius=3, **options) for p in parts]

    counts = []
    means = losses(all_reduce_sum=lambda here: counts.append(here) or here)
    shares = losses(all_reduce_sum=lambda here: sum(counts))
    whole = affinity.affinity_loss(features, labels, radius=3)

    torch.testing.assert_close(sum(shares), whole)
    (gradient,) = torch.autograd.grad(sum(shares), features)
    torch.testing.assert_close(gradient, torch.autograd.grad(whole, features)[0])
    assert (
        abs(float((sum(means) / 2 - whole).detach())) > 1e-2
    )  # the mean of the processes' means is wrong


def test_training_goes_on_from_the_last_epoch_when_a_process_is_killed(tmp_path, caplog):
    """First that of rank 0, then that of rank 1, in the same epoch."""
    (deaths := tmp_path / "deaths").touch()
    assert two(partial(count_epochs, [0, 1], deaths), 0) == [1, 2, 3, 4]
    assert deaths.read_text() == "xx"
    assert caplog.text.count("goes on from its last epoch") == 2


def test_training_that_is_killed_each_time_tells_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr("affinitynet.execution.engine.ATTEMPTS", 2)
    (deaths := tmp_path / "deaths").touch()
    each_time = partial(count_epochs, [1, 1], deaths)
    values = launch(each_time, 0, execution=Execution(devices=2, device="cpu"))
    assert [next(values), next(values)] == [1, 2]
    with pytest.raises(UserError, match=r"training process died 2 times[\s\S]*resume=true"):
        next(values)


class Deadly(Samples):
    """Samples whose reader is killed once, in the second epoch."""

    def __init__(self, folder):
        super().__init__(tags=True)
        self.folder = folder

    def __getitem__(self, index):
        read = self.folder / "read"
        with read.open("a") as file:
            file.write("x")
        if read.stat().st_size > len(self) and not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_process_that_prepares_samples_may_be_killed(devices, tmp_path, caplog):
    start, execution = untrained("cam"), Execution(devices=devices, device="cpu")
    parameters = replace(PARAMETERS, workers=1)
    loop = partial(
        _train,
        partial(Deadly, tmp_path),
        classification_loss,
        parameters,
        3,
        execution,
    )
    trained = [*launch(loop, start, execution=execution)]
    assert [checkpoint.progress["epoch"] for checkpoint in trained] == [1, 2, 3]
    assert (tmp_path / "died").exists()
    assert "goes on from its last epoch" in caplog.text
    undisturbed = [*run("cam", classification_loss, start)]
    for one, other in zip(undisturbed, trained, strict=True):
        assert one.progress["history"][-1] == pytest.approx(other.progress["history"][-1], rel=1e-5)


def wait_with_others(folder, start):
    (folder / str(os.getpid())).touch()
    yield start + 1
    time.sleep(300)


def drive(folder):
    [*launch(partial(wait_with_others, folder), 0, execution=Execution(devices=2, device="cpu"))]


def test_the_processes_end_with_the_one_that_started_them(tmp_path):
    driver = get_context("spawn").Process(target=drive, args=(tmp_path,))
    driver.start()
    while len(started := [*tmp_path.iterdir()]) < 2:
        assert driver.is_alive()
        time.sleep(0.1)
    family = [
        *(psutil.Process(int(path.name)) for path in started),
        *psutil.Process(driver.pid).children(recursive=True),
    ]
    driver.kill()
    driver.join()
    _, alive = psutil.wait_procs(family, timeout=120)
    assert not alive


def fail(start):
    raise ValueError(f"rank {torch.distributed.get_rank()} of 2")
    yield


def test_errors_of_the_loop_come_out_as_they_are():
    with pytest.raises(ValueError, match=r"rank . of 2"):
        two(fail, None)


def test_a_batch_that_cannot_be_shared_out_is_refused(monkeypatch):
    monkeypatch.setattr("affinitynet.training.loop.world_size", lambda: 8)
    with pytest.raises(ValueError, match="5 samples cannot be shared out among 8"):
        next(run("cam", classification_loss, untrained("cam")))
