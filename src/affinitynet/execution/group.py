"""A process's place among those that train together."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from affinitynet.execution.parameters import Execution

T = TypeVar("T")


def run_rank(
    loop: Callable[[], Iterator[T]],
    store: Any,
    rank: int,
    local_rank: int,
    execution: Execution,
) -> Iterator[T]:
    """Run a loop as one process of a torch.distributed group: NCCL on CUDA, else Gloo.

    Args:
        loop: What to run.
        store: torch.distributed's, where the processes find each other.
        rank: Of this process, from 0.
        local_rank: The CUDA device among those that this process sees.
        execution: `devices` and `device`.

    Yields:
        The loop's values on rank 0; the others only run it.
    """
    import torch
    from torch import distributed

    cuda = execution.device != "cpu" and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank)
    distributed.init_process_group(
        "nccl" if cuda else "gloo", store=store, rank=rank, world_size=execution.devices
    )
    for value in loop():
        if rank == 0:
            yield value
    # Not where the loop raised: with NCCL this waits for the others, and they for this rank. The
    # process ends then.
    distributed.destroy_process_group()
