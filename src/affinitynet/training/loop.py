"""One training loop for every network: SGD or AdamW, polynomial decay, a checkpoint an epoch."""

import copy
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, get_worker_info

from affinitynet.execution.parameters import cores
from affinitynet.networks.checkpoint import Checkpoint, restore, snapshot
from affinitynet.networks.cpu import optimize_for_cpu
from affinitynet.networks.precision import uses_bfloat16
from affinitynet.training.parameters import TrainingParameters
from affinitynet.training.ranks import (
    DistributedBatchSampler,
    all_reduce_sum,
    rank,
    synchronise,
    world_size,
)

logger = logging.getLogger(__name__)

WAIT = 50
"""Steps on a GPU after which the losses are read: each reading waits for the device."""

MOST_WORKERS = 16
"""Processes that prepare samples for a GPU, where their number is left open."""

WORKERS = "fork" if sys.platform == "linux" else "spawn"
"""How processes that prepare samples start. With `fork` they share the decoded photos with this
process, whatever started it; on macOS that is not safe."""

Loss = Callable[[nn.Module, Any], Tensor]
Progress = Callable[[Iterable[Any], str], Iterable[Any]]


def train(
    initial: Checkpoint,
    samples: Dataset[Any],
    loss: Loss,
    parameters: TrainingParameters,
    *,
    seed: int,
    device: torch.device | str = "auto",
    progress: Progress = lambda steps, description: steps,
) -> Iterator[Checkpoint]:
    """Train a network and yield its checkpoint after each epoch.

    A checkpoint that has been trained goes on from its epoch. Every epoch draws its random
    numbers from (seed, epoch), so that interrupted training gives exactly the same result
    as uninterrupted training, on the same machine.

    In a torch.distributed group every process runs this: they share out each batch, so that batch
    size, learning rates and losses are those of one process.

    Args:
        initial: From `affinitynet.networks.checkpoint.initialise`, or one that was yielded here.
        samples: A map-style data set of tuples of tensors.
        loss: The loss of a network on a batch of samples on its device; a scalar. Of a share of a
            batch, its share of the whole batch's loss.
        seed: Seed of the order and the variations of samples, and of dropout.
        device: Where to train; "auto" takes the GPU if there is one.
        progress: Wraps an epoch's batches (with the epoch's description) to show a progress bar.

    Yields:
        A checkpoint after each epoch, counted from 1; of epoch 0 if there are none.

    Raises:
        FloatingPointError: If the loss is no longer finite.
        ValueError: If the samples do not fill one batch or a frozen part does not exist.
    """
    if parameters.epochs == 0:
        yield Checkpoint(initial.config, initial.weights, {"epoch": 0, "history": []})
        return
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(device)
    steps = len(samples) // parameters.batch_size  # type: ignore[arg-type]
    if steps == 0:
        raise ValueError(
            f"training.batch_size: {parameters.batch_size} is more than there are samples, "
            f"{len(samples)}; lower it"  # type: ignore[arg-type]
        )
    if parameters.batch_size < world_size():
        raise ValueError(
            f"training.batch_size: {parameters.batch_size} samples cannot be shared out among "
            f"{world_size()} processes; raise it, or lower execution.devices"
        )
    network = restore(initial, device=device).to(memory_format=torch.channels_last)
    fixed = _frozen_parts(network, parameters.frozen)
    if parameters.fixed_norms:
        backbone: Any = network.backbone
        fixed += [part for part in backbone.modules() if isinstance(part, _BatchNorm)]
    if device.type == "cpu":  # a GPU waits for the host: more operators take longer there
        optimize_for_cpu(network, fixed)
    optimiser = _optimiser(network, parameters)
    done = initial.progress.get("epoch", 0)
    history = list(initial.progress.get("history", []))
    bfloat16 = uses_bfloat16(parameters.precision, device)
    if done:
        optimiser.load_state_dict(initial.progress["optimiser"])
        if initial.progress.get("bfloat16", bfloat16) != bfloat16:
            logger.warning(
                "Training goes on in %s; its first epochs (%d) were in the other precision: "
                "training.precision=auto took it on another processor.",
                "bfloat16" if bfloat16 else "float32",
                done,
            )
    _set_to_training(network, fixed)
    replica = synchronise(network)
    if parameters.compile and device.type == "cuda":
        replica = torch.compile(replica)  # type: ignore[assignment]

    epochs = parameters.count_epochs(len(samples))  # type: ignore[arg-type]
    for epoch in range(done + 1, epochs + 1):
        loader = _loader(samples, parameters, device, seed=_seed_epoch(seed, epoch))
        _set_to_training(replica, fixed)
        losses = _Losses(epoch, (epoch - 1) * steps, wait=WAIT if device.type == "cuda" else 1)
        step = (epoch - 1) * steps
        for batch in progress(loader, f"Epoch {epoch} of {epochs}"):
            factor = _decay(step, epochs * steps, parameters)
            for group in optimiser.param_groups:
                group["lr"] = factor * group["initial_lr"]
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                value = loss(replica, [_place(tensor, device) for tensor in batch])
            step += 1
            losses.add(all_reduce_sum(value))
            optimiser.zero_grad()
            (value * world_size()).backward()  # the gradients are averaged, and the shares add up
            optimiser.step()
        history.append(
            {
                "epoch": epoch,
                "step": step,
                "loss": losses.sum() / steps,
                "learning_rate": factor * parameters.learning_rate,
            }
        )
        yield Checkpoint(
            config=initial.config,
            weights=snapshot(network),
            progress={
                "epoch": epoch,
                "optimiser": _snapshot_optimiser(optimiser),
                "history": list(history),
                "bfloat16": bfloat16,
            },
        )


def _set_to_training(network: nn.Module, fixed: Sequence[nn.Module]) -> None:
    network.train()
    for part in fixed:
        part.eval()


def _frozen_parts(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Find the parts that are not trained and switch their gradients off."""
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules:
            raise ValueError(
                f"training.frozen: the network has no part '{name}'; it has "
                f"{', '.join(child for child, _ in network.named_children())} and theirs"
            )
    return [modules[name].requires_grad_(False) for name in names]


def _optimiser(network: nn.Module, parameters: TrainingParameters) -> torch.optim.Optimizer:
    """Group the weights: backbone or head; weight decay for kernels, neither norms nor biases."""
    norms = {
        parameter
        for part in network.modules()
        if isinstance(part, (_BatchNorm, nn.GroupNorm, nn.LayerNorm))
        for parameter in part.parameters()
    }
    groups = []
    for in_backbone, rate in (
        (True, parameters.learning_rate),
        (False, parameters.head_learning_rate),
    ):
        trained = [
            weight
            for name, weight in network.named_parameters()
            if weight.requires_grad and name.startswith("backbone.") == in_backbone
        ]
        kernels = [weight for weight in trained if weight.ndim > 1]
        scales = [weight for weight in trained if weight in norms]
        biases = [weight for weight in trained if weight.ndim <= 1 and weight not in norms]
        for members, factor, decay in (
            (kernels, 1.0, parameters.weight_decay),
            (scales, 1.0, 0.0),
            (biases, parameters.bias_rate, 0.0),
        ):
            groups.append({"params": members, "initial_lr": factor * rate, "weight_decay": decay})
    if parameters.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=0.0, betas=(parameters.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=0.0, momentum=parameters.momentum, fused=True)


def _snapshot_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Copy the optimiser's state to the CPU, as `snapshot` does the weights."""
    state = optimiser.state_dict()
    return {
        "state": {
            number: {
                name: value.to("cpu", copy=True) if isinstance(value, Tensor) else value
                for name, value in entries.items()
            }
            for number, entries in state["state"].items()
        },
        "param_groups": copy.deepcopy(state["param_groups"]),
    }


def _decay(step: int, steps: int, parameters: TrainingParameters) -> float:
    """Factor on the learning rates at a step (from 0): linear warm-up, polynomial decay."""
    warmup = parameters.warmup * steps
    rise: float = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return rise * float((1 - step / steps) ** parameters.power)


def _seed_epoch(seed: int, epoch: int) -> int:
    """Seed torch for one epoch, whatever has happened before; return the epoch's own seed."""
    own = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch.manual_seed(own + rank())  # dropout and variations; the order is the same for all
    return own


def _loader(
    samples: Dataset[Any], parameters: TrainingParameters, device: torch.device, *, seed: int
) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    order = RandomSampler(samples, generator=generator)  # type: ignore[arg-type]
    workers = count_workers(parameters.workers, device)
    return DataLoader(
        _Seeded(samples, seed),
        batch_sampler=DistributedBatchSampler(
            BatchSampler(order, parameters.batch_size, drop_last=True)
        ),
        num_workers=workers,
        multiprocessing_context=WORKERS if workers else None,
        prefetch_factor=4 if workers and device.type == "cuda" else None,
        pin_memory=device.type == "cuda",
        generator=generator,
    )


class _Seeded(Dataset[Any]):
    """Samples whose variation depends on their number, not on the process that prepares them.

    Args:
        samples: They draw from torch's random numbers.
        seed: The epoch's, below 2^32.
    """

    def __init__(self, samples: Dataset[Any], seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        if get_worker_info():
            torch.default_generator.manual_seed((self.seed << 32) + index)
        return self.samples[index]


def count_workers(workers: int | None, device: torch.device) -> int:
    """Find how many processes prepare samples.

    Args:
        device: Where the network is trained.

    Returns:
        On a GPU, where the number is left open, the cores that each training process has, but one.
        On a CPU none: training takes all the cores.
    """
    if workers is not None:
        return workers
    if device.type != "cuda":
        return 0
    return max(1, min(MOST_WORKERS, cores() // world_size() - 1))


def _place(tensor: Tensor, device: torch.device) -> Tensor:
    layout = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
    return tensor.to(device, non_blocking=True, memory_format=layout)


class _Losses:
    """The losses of an epoch's steps, read from the device many at a time: it need not wait.

    Args:
        epoch: For the message.
        step: Steps before these.
        wait: Steps after which they are read, and checked.
    """

    def __init__(self, epoch: int, step: int, *, wait: int) -> None:
        self.epoch, self.step, self.wait = epoch, step, wait
        self.total = 0.0
        self.unread: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Keep the loss of the next step.

        Raises:
            FloatingPointError: If it is not finite, or one of the last steps' is not.
        """
        self.unread.append(loss.detach())
        if len(self.unread) == self.wait:
            self._read()

    def sum(self) -> float:
        """Add the losses up.

        Raises:
            FloatingPointError: If one is not finite.
        """
        if self.unread:
            self._read()
        return self.total

    def _read(self) -> None:
        for value in torch.stack(self.unread).tolist():
            self.step += 1
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"training: the loss is {value} in epoch {self.epoch}, step {self.step}; lower "
                    "training.learning_rate or training.head_learning_rate"
                )
            self.total += value
        self.unread.clear()
