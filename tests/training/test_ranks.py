"""Two processes share each batch and train as one would."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from tests.training.deaths import count_epochs
from torch.utils.data import Dataset

from affinitynet.core.affinity import affinity_loss
from affinitynet.errors import UserError
from affinitynet.execution import Execution, launch
from affinitynet.networks.checkpoint import initialise
from affinitynet.training.loop import train
from affinitynet.training.losses import pair_loss, pixel_loss, tag_loss
from affinitynet.training.parameters import TrainingParameters

BACKBONE = {"name": "test_resnet", "weights": None, "output_stride": 16}
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


def run(kind, loss, start):
    # On a CPU a norm that learns its statistics sees its process's share alone.
    norms = ("head.1",) if kind == "segmentation" else ()
    parameters = replace(PARAMETERS, frozen=norms)
    yield from train(start, Samples(kind == "cam"), loss, parameters, seed=3, device="cpu")


def two(loop, start):
    return [*launch(loop, start, execution=Execution(devices=2, device="cpu"))]


@pytest.mark.parametrize(
    ("kind", "loss"),
    [("cam", tag_loss), ("affinity", partial(pair_loss, radius=3)), ("segmentation", pixel_loss)],
)
def test_two_processes_train_as_one(kind, loss):
    """Also where the batch is odd, and the labels are anything but evenly shared out."""
    start = untrained(kind)
    alone, together = [*run(kind, loss, start)], two(partial(run, kind, loss), start)

    assert [checkpoint.progress["epoch"] for checkpoint in together] == [1, 2, 3]
    for one, other in zip(
        alone[-1].progress["history"], together[-1].progress["history"], strict=True
    ):
        assert other == pytest.approx(one, rel=1e-5)
    for name, weight in alone[-1].weights.items():
        torch.testing.assert_close(together[-1].weights[name], weight, rtol=1e-4, atol=1e-5)


def test_shares_of_the_affinity_loss_add_up_to_the_batch_s():
    random = torch.Generator().manual_seed(0)
    features = torch.rand(4, 8, 6, 6, generator=random, requires_grad=True)
    labels = torch.randint(0, 3, (4, 6, 6), generator=random)
    labels[:3, 1:] = 255  # most pairs are in the second share
    parts = [slice(0, 2), slice(2, 4)]

    def losses(**options):
        return [affinity_loss(features[p], labels[p], radius=3, **options) for p in parts]

    counts = []
    means = losses(whole=lambda here: counts.append(here) or here)
    shares = losses(whole=lambda here: sum(counts))
    whole = affinity_loss(features, labels, radius=3)

    torch.testing.assert_close(sum(shares), whole)
    (gradient,) = torch.autograd.grad(sum(shares), features)
    torch.testing.assert_close(gradient, torch.autograd.grad(whole, features)[0])
    assert (
        abs(float((sum(means) / 2 - whole).detach())) > 1e-2
    )  # the mean of the processes' means is wrong


@pytest.mark.parametrize("rank", [0, 1])
def test_training_goes_on_from_the_last_epoch_when_a_process_is_killed(rank, tmp_path, caplog):
    (deaths := tmp_path / "deaths").touch()
    assert two(partial(count_epochs, rank, deaths, 1), 0) == [1, 2, 3, 4]
    assert deaths.read_text() == "x"
    assert "goes on from its last epoch" in caplog.text


def test_training_that_is_killed_each_time_tells_how_to_go_on(tmp_path):
    (deaths := tmp_path / "deaths").touch()
    each_time = partial(count_epochs, 1, deaths, 9)
    values = launch(each_time, 0, execution=Execution(devices=2, device="cpu"))
    assert [next(values), next(values)] == [1, 2]
    with pytest.raises(UserError, match=r"training process died 3 times[\s\S]*resume=true"):
        next(values)


def fail(start):
    raise ValueError(f"rank {torch.distributed.get_rank()} of 2")
    yield


def test_errors_of_the_loop_come_out_as_they_are():
    with pytest.raises(ValueError, match=r"rank . of 2"):
        two(fail, None)


def test_a_batch_that_cannot_be_shared_out_is_refused(monkeypatch):
    monkeypatch.setattr("affinitynet.training.loop.ranks", lambda: 8)
    with pytest.raises(ValueError, match="5 samples cannot be shared out among 8"):
        next(run("cam", tag_loss, untrained("cam")))
