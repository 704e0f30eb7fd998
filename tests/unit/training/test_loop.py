"""The training loop: it learns, goes on exactly where it was, and says what went wrong."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import Dataset

from affinitynet.networks.checkpoint import Checkpoint, initialise, restore
from affinitynet.training import loop
from affinitynet.training.loop import train
from affinitynet.training.losses import affinity_loss, classification_loss, segmentation_loss
from affinitynet.training.parameters import TrainingParameters

CONFIG = {
    "kind": "cam",
    "backbone": {"name": "test_resnet", "weights": None, "output_stride": 16},
    "classes": {"red": 1, "blue": 2},
    "head": {"dropout": 0.2},
}
PARAMETERS = TrainingParameters(  # a random backbone has no statistics worth fixing
    epochs=3,
    batch_size=4,
    learning_rate=0.01,
    head_learning_rate=0.1,
    warmup=0.1,
    fixed_norms=False,
)
ADAMW = {"optimiser": "adamw", "learning_rate": 0.001, "head_learning_rate": 0.01}


class Colours(Dataset):
    """Noisy red or blue photos, tagged with their colour."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        tags = torch.tensor([1.0, 0.0]) if index % 2 else torch.tensor([0.0, 1.0])
        photo = torch.rand(3, 32, 32) * 0.5
        photo[0 if index % 2 else 2] += 0.5
        return photo, tags


@pytest.fixture(scope="module")
def initial():
    return initialise(CONFIG, seed=0)


def run(initial, parameters=PARAMETERS, loss=classification_loss, seed=7):
    return list(train(initial, Colours(), loss, parameters, seed=seed, device="cpu"))


def assert_same(one, other):
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(value, other.weights[key]) for key, value in one.weights.items())


def test_each_epoch_yields_a_checkpoint_with_its_history(initial):
    checkpoints = run(initial)

    assert [checkpoint.progress["epoch"] for checkpoint in checkpoints] == [1, 2, 3]
    history = checkpoints[-1].progress["history"]
    assert [(entry["epoch"], entry["step"]) for entry in history] == [(1, 2), (2, 4), (3, 6)]
    rates = [entry["learning_rate"] for entry in history]
    assert rates == sorted(rates, reverse=True)
    assert len(checkpoints[0].progress["history"]) == 1  # later epochs leave it alone


def test_few_samples_are_passed_over_until_the_steps_are_enough(initial):
    few = replace(PARAMETERS, epochs=1, least_steps=5)  # of 10 samples, 4 a step
    assert [each.progress["history"][-1]["step"] for each in run(initial, few)] == [2, 4, 6]
    assert [few.count_epochs(count) for count in (3, 4, 12, 20, 400)] == [5, 5, 2, 1, 1]
    assert replace(few, epochs=0).count_epochs(4) == 0


@pytest.mark.parametrize("rates", [{}, ADAMW])
def test_it_learns_a_small_problem(initial, rates):
    (*_, final) = run(initial, replace(PARAMETERS, epochs=12, **rates))

    losses = [entry["loss"] for entry in final.progress["history"]]
    assert losses[-1] < 0.2 < losses[0]
    photos, tags = zip(*(Colours()[index] for index in range(10)), strict=True)
    predicted = restore(final)(torch.stack(photos)) > 0
    assert torch.equal(predicted.float(), torch.stack(tags))


@pytest.mark.parametrize(("workers", "rates"), [(0, {}), (1, {}), (0, ADAMW)])
def test_an_interrupted_training_gives_the_same(initial, workers, rates, tmp_path):
    parameters = replace(PARAMETERS, workers=workers, **rates)
    (*_, whole) = run(initial, parameters)
    torch.save(run(initial, parameters)[0].state_dict(), tmp_path / "model.pt")
    torch.rand(100)  # whatever else draws random numbers meanwhile

    saved = Checkpoint(**torch.load(tmp_path / "model.pt", weights_only=True))
    *_, resumed = run(saved, parameters)

    assert_same(whole, resumed)
    assert whole.progress["history"] == resumed.progress["history"]


def test_a_finished_training_yields_nothing_more(initial):
    (*_, final) = run(initial)

    assert run(final) == []


def test_the_seed_decides(initial):
    (*_, one), (*_, same), (*_, other) = (run(initial, seed=seed) for seed in (1, 1, 2))

    assert_same(one, same)
    assert not torch.equal(one.weights["classifier.weight"], other.weights["classifier.weight"])


def test_frozen_parts_keep_weights_and_statistics(initial):
    (*_, final) = run(initial, replace(PARAMETERS, frozen=("backbone",)))

    for key, value in final.weights.items():
        assert torch.equal(value, initial.weights[key]) == key.startswith("backbone.")


def test_a_backbone_that_is_frozen_as_a_whole_teaches_the_same(initial):
    """Though its norms are folded into its convolutions meanwhile."""
    (*_, one), (*_, other) = (
        run(initial, replace(PARAMETERS, frozen=(part,))) for part in ("backbone", "backbone.trunk")
    )
    assert one.weights.keys() == initial.weights.keys()
    for key, value in one.weights.items():
        torch.testing.assert_close(value, other.weights[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("fixed", [True, False])
def test_fixed_norms_keep_their_statistics_and_learn_their_weights(initial, fixed):
    (*_, final) = run(initial, replace(PARAMETERS, fixed_norms=fixed))

    statistics, weight = (f"backbone.trunk.bn1.{name}" for name in ("running_mean", "weight"))
    assert torch.equal(final.weights[statistics], initial.weights[statistics]) == fixed
    assert not torch.equal(final.weights[weight], initial.weights[weight])


def test_unknown_frozen_part_is_named(initial):
    with pytest.raises(
        ValueError, match=r"no part 'spine'; it has backbone, adapt, dropout, classifier"
    ):
        run(initial, replace(PARAMETERS, frozen=("spine",)))


def test_bfloat16_trains_float32_weights(initial):
    (*_, final) = run(initial, replace(PARAMETERS, epochs=1, precision="bfloat16"))

    assert final.weights["classifier.weight"].dtype == torch.float32


def test_auto_may_take_another_precision_on_the_machine_that_goes_on(initial, monkeypatch, caplog):
    parameters = replace(PARAMETERS, epochs=2, precision="auto")
    monkeypatch.setattr(loop, "uses_bfloat16", lambda precision, device: precision == "auto")
    first, _ = run(initial, parameters)
    assert first.progress["bfloat16"]
    monkeypatch.setattr(loop, "uses_bfloat16", lambda precision, device: False)
    assert not caplog.messages
    (second,) = run(first, parameters)
    assert not second.progress["bfloat16"]
    assert "Training goes on in float32" in caplog.text


def test_a_loss_that_is_not_finite_stops_the_training(initial):
    def diverging(network, batch):
        return classification_loss(network, batch) * float("nan")

    with pytest.raises(
        FloatingPointError, match=r"nan in epoch 1, step 1; lower training\.learning_rate"
    ):
        run(initial, loss=diverging)


def test_losses_are_read_from_a_device_many_at_a_time():
    losses = loop._Losses(2, 10, wait=3)
    for value in (1.0, 0.5, 0.25, 2.0):
        losses.add(torch.tensor(value))
    assert losses.total == 1.75  # the last one is still unread
    assert losses.sum() == 3.75

    losses = loop._Losses(2, 10, wait=3)
    losses.add(torch.tensor(1.0))
    losses.add(torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError, match="epoch 2, step 12"):
        losses.add(torch.tensor(1.0))


WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim"}
"""Operators whose result the host has to wait for."""


class NothingWaits(TorchDispatchMode):
    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        assert operator.overloadpacket.__name__ not in WAITING
        is_index = operator.overloadpacket is torch.ops.aten.index
        assert not is_index or all(i is None or i.dtype != torch.bool for i in args[1])
        return operator(*args, **(kwargs or {}))


class Halves(Dataset):
    """Photos whose left half is labelled 1, the right one 2."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        labels = torch.ones(32, 32, dtype=torch.long)
        labels[:, 16:] = 2
        return torch.rand(3, 32, 32), labels


@pytest.mark.parametrize(
    ("kind", "head", "samples", "loss"),
    [
        ("cam", {}, Colours(), classification_loss),
        ("affinity", {"channels": [8, 8, 8]}, Halves(), partial(affinity_loss, radius=3)),
        ("segmentation", {"channels": 16}, Halves(), segmentation_loss),
    ],
)
def test_no_step_makes_the_host_wait_for_a_gpu(monkeypatch, kind, head, samples, loss):
    monkeypatch.setattr(loop, "_Losses", lambda *at, wait, kept=loop._Losses: kept(*at, wait=50))

    def watch(steps, _):
        for batch in steps:
            with NothingWaits():
                yield batch

    start = initialise(CONFIG | {"kind": kind, "head": head}, seed=0)
    once = replace(PARAMETERS, epochs=1)
    [*train(start, samples, loss, once, seed=0, device="cpu", progress=watch)]


def test_a_gpu_gets_pinned_samples_that_are_ready(monkeypatch):
    monkeypatch.setattr(loop, "cores", lambda: 4)
    loaders = [
        loop._loader(Colours(), PARAMETERS, torch.device(name), seed=0) for name in ("cpu", "cuda")
    ]
    options = [(each.num_workers, each.pin_memory, each.prefetch_factor) for each in loaders]
    assert options == [(0, False, None), (3, True, 4)]


def test_samples_vary_as_they_do_whatever_number_of_processes_prepares_them(initial):
    one, three = (
        run(initial, replace(PARAMETERS, epochs=1, workers=workers))[-1] for workers in (1, 3)
    )
    assert one.progress["history"] == three.progress["history"]


@pytest.mark.parametrize(
    ("workers", "device", "cores", "count"),
    [
        (None, "cpu", 16, 0),
        (None, "cuda", 16, 15),
        (None, "cuda", 64, 16),
        (None, "cuda", 1, 1),
        (3, "cuda", 16, 3),
        (3, "cpu", 16, 3),
    ],
)
def test_workers_are_as_many_as_suit_the_device(monkeypatch, workers, device, cores, count):
    monkeypatch.setattr(loop, "cores", lambda: cores)
    assert loop.count_workers(workers, torch.device(device)) == count


def test_too_few_samples_are_refused(initial):
    with pytest.raises(ValueError, match="64 is more than there are samples, 10"):
        run(initial, replace(PARAMETERS, batch_size=64))


def test_progress_sees_every_batch(initial):
    seen = []

    def progress(batches, description):
        seen.append((len(batches), description))
        return batches

    list(
        train(
            initial,
            Colours(),
            classification_loss,
            PARAMETERS,
            seed=0,
            device="cpu",
            progress=progress,
        )
    )

    assert seen == [(2, f"Epoch {epoch} of 3") for epoch in (1, 2, 3)]


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": -1}, {"epochs": "2"}, {"momentum": "a"}, {"warmup": 1.0}, {"precision": "float16"}],
)
def test_parameters_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(PARAMETERS, **wrong)


def test_without_epochs_the_initial_weights_are_kept(initial):
    (checkpoint,) = run(initial, replace(PARAMETERS, epochs=0))

    assert checkpoint.progress["epoch"] == 0
    assert checkpoint.progress["history"] == []
    assert_same(checkpoint, initial)


def test_biases_of_convolutions_learn_at_their_own_rate():
    config = CONFIG | {"head": {"form": "paper", "dropout": 0.0}}
    start = initialise(config, seed=0)
    # one step without momentum and decay: what a weight moves by is its rate times its gradient
    once = replace(PARAMETERS, epochs=1, batch_size=10, momentum=0.0, weight_decay=0.0, warmup=0.0)
    (plain,) = run(start, once)
    (twice,) = run(start, replace(once, bias_rate=2.0))

    for name, factor in (("classifier.bias", 2), ("classifier.weight", 1), ("adapt.0.bias", 2)):
        moved = plain.weights[name] - start.weights[name]
        torch.testing.assert_close(twice.weights[name] - start.weights[name], factor * moved)
    norm = "backbone.trunk.bn1.bias"
    assert torch.equal(plain.weights[norm], twice.weights[norm])
